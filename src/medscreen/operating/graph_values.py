"""Computation of values of an ONNX graph from images, or from other values of the graph."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from medscreen.data.images import Pixels, batches

Values = dict[str, NDArray[Any]]
"""Name of a graph value -> array with one entry per image."""


def values_of_images(model: onnx.ModelProto, pixels: Pixels, names: Sequence[str], threads: int) -> Values:
    """Computes the named values for images (N, S, S), in the batches of screening."""
    cuts = batches(len(pixels), pixels.shape[1])
    given = ({"pixels": np.ascontiguousarray(pixels[cut, None])} for cut in cuts)
    return _run(part_for(model, names), given, names, threads)


def values_from(model: onnx.ModelProto, values: Values, names: Sequence[str], side: int, threads: int) -> Values:
    """Computes the named values from given float values, in the batches of images of `side` pixels."""
    part = part_for(model, names, values)
    used = [entry.name for entry in part.graph.input]
    number = len(next(iter(values.values())))
    given = ({name: values[name][cut] for name in used} for cut in batches(number, side))
    return _run(part, given, names, threads)


def part_for(
    model: onnx.ModelProto, names: Sequence[str], given: Mapping[str, NDArray[Any]] | None = None
) -> onnx.ModelProto:
    """Subgraph that computes the named values as outputs; ONNX Runtime would run all nodes of the whole graph.

    Its inputs are the float values `given`, or the graph's inputs if there are none.
    """
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph, inputs = part.graph, dict(given or {})
    needed, nodes = set(names), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output) - inputs.keys():
            needed.update(node.input)
            nodes.append(node)
    outputs = {output.name: output for output in model.graph.output}
    del graph.node[:], graph.output[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(constant for constant in model.graph.initializer if constant.name in needed)
    graph.output.extend(
        outputs.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    if inputs:
        del graph.input[:]
        graph.input.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *array.shape[1:]])
            for name, array in inputs.items()
            if name in needed
        )
    return part


def _run(part: onnx.ModelProto, given: Iterator[Values], names: Sequence[str], threads: int) -> Values:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [session.run(list(names), batch) for batch in given]
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*found, strict=True), strict=True)}
