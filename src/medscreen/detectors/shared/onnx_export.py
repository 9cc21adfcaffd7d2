"""ONNX export: a fitted detector's network as a graph."""

import io
import logging
import warnings
from contextlib import redirect_stdout

import onnx
import torch
from torch import nn

from medscreen.detectors.shared.base import Detector


def export_network(detector: Detector, size: int) -> onnx.ModelProto:
    """Exports `detector.network`: float `images` (N, 1, size, size) in 0..1 -> `score` (N,), `findings` (N, K)."""
    return export_module(detector.network, size, ["score", "findings"] if detector.findings else ["score"])


def export_module(network: nn.Module, size: int, outputs: list[str]) -> onnx.ModelProto:
    """Exports a network as an ONNX graph: float `images` (N, 1, size, size) in 0..1 -> the named outputs.

    Torch's records of source lines are removed, so that the bytes do not depend on the folder of the checkout.
    """
    example = torch.rand(2, 1, size, size)  # with one image, torch would specialize the batch dimension to 1
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecation warnings from torch's exporter
        program = torch.onnx.export(
            network.eval(),
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("N", min=1, max=65536)},),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    del model.metadata_props[:]
    for item in (
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
    ):
        del item.metadata_props[:]
        item.doc_string = ""
    return model
