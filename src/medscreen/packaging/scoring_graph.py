"""Preprocessing nodes: extends a network's graph to uint8 images of any size."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

REFUSAL = "refused_no_grey_level_above_1_give_uint8_images_in_0_to_255_not_floats_in_0_to_1"
"""Name of the node that fails for a refused image: ONNX Runtime reports it, the only message that a graph can give."""


def scoring_graph(network: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Extends a network's graph (float `images` (N, 1, size, size) in 0..1 -> `score` ...) to uint8 `pixels`.

    See `on_pixels`.
    """
    after = [helper.make_node("Add", ["ms_network_score", "ms_nothing"], ["score"])]
    return on_pixels(network, size, after, helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]))


def map_graph(network: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Extends a map network's graph (`images` -> `map` (N, 1, size, size)) to uint8 `pixels`; see `on_pixels`."""
    after = [
        helper.make_node("Constant", [], ["ms_column"], value_ints=[-1, 1, 1, 1]),
        helper.make_node("Reshape", ["ms_nothing", "ms_column"], ["ms_nothing_column"]),
        helper.make_node("Add", ["ms_network_map", "ms_nothing_column"], ["map"]),
    ]
    output = helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", 1, size, size])
    return on_pixels(network, size, after, output)


def on_pixels(
    network: onnx.ModelProto, size: int, after: list[onnx.NodeProto], output: onnx.ValueInfoProto
) -> onnx.ModelProto:
    """Graph on uint8 `pixels` (N, 1, H, W); the nodes `after` compute `output` from the network's `ms_network_...`.

    Other sizes are resized with an antialiasing triangle filter. An image without a gray level above 1 raises an error:
    most likely a client cast floats in 0..1 to uint8, and any result would be wrong. The error comes from the node of
    `ms_nothing` (N,), zeros that `after` adds to the output.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    constants: dict[str, np.ndarray] = {
        "ms_sizes": np.array([size, size], np.int64),
        "ms_white": np.array(255.0, np.float32),
        "ms_one": np.array(1.0, np.float32),
        "ms_zero": np.zeros(1, np.float32),
        "ms_axes": np.array([1, 2, 3], np.int64),
    }
    before = [
        helper.make_node("Cast", ["pixels"], ["ms_grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["ms_grey", "ms_axes"], ["ms_brightest"], keepdims=0),
        helper.make_node("LessOrEqual", ["ms_brightest", "ms_one"], ["ms_dark"]),
        helper.make_node("Cast", ["ms_dark"], ["ms_index"], to=TensorProto.INT64),
        # out-of-range index into one element: ONNX has no other way to raise an error
        helper.make_node("Gather", ["ms_zero", "ms_index"], ["ms_nothing"], name=REFUSAL),
        helper.make_node(
            "Resize",
            ["ms_grey", "", "", "ms_sizes"],
            ["ms_resized"],
            mode="linear",
            antialias=1,
            axes=[2, 3],
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Div", ["ms_resized", "ms_white"], ["images"]),
    ]
    _rename_output(graph, output.name, f"ms_network_{output.name}")
    nodes = [*before, *graph.node, *after]
    others = [other for other in graph.output if other.name != output.name]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, "H", "W"]))
    graph.output.append(output)
    graph.output.extend(others)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    return model


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
