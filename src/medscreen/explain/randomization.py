"""Randomization check: a valid map has to change when the learned weights of the detector are shuffled."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from scipy import stats

from medscreen.evaluation.outcomes import Floats
from medscreen.explain.packaged_map import Maps, is_constant


def with_shuffled_weights(graph: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The graph with the values within each learned tensor permuted, which keeps their distribution.

    Learned tensors have dotted names, as in a state dict; constants of the map's geometry do not. Adebayo et al. 2018
    (arXiv 1810.03292) draw new weights, which here could make variances negative.
    """
    model, rng = onnx.ModelProto(), np.random.default_rng(seed)
    model.CopyFrom(graph)
    for tensor in model.graph.initializer:
        if "." in tensor.name and tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            shuffled = rng.permutation(values.ravel()).reshape(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
    return model


def rank_correlations(maps: Maps, others: Maps) -> Floats:
    """(N,): Spearman rank correlation of the two maps of each image; 0 if one of them is constant."""
    useful = ~(is_constant(maps) | is_constant(others))
    pairs = zip(maps, others, useful, strict=True)
    return np.array([stats.spearmanr(a.ravel(), b.ravel()).statistic if use else 0.0 for a, b, use in pairs])
