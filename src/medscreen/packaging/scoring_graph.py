"""From a network's graph to one that takes images as they come."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

REFUSAL = "refused_no_grey_level_above_1_give_uint8_images_in_0_to_255_not_floats_in_0_to_1"
"""Shown by ONNX Runtime as the name of the node that fails: the one way a graph has to say why it refuses."""


def scoring_graph(network: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """From a network's graph (float `images` (N, 1, size, size) in 0..1 -> `score` ...) to one on uint8 `pixels`.

    Other sizes are resized with an antialiasing triangle filter. An image without a grey level above 1 is
    refused by an error: most likely a client cast floats in 0..1 to uint8, and any answer would be wrong.
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
        # index 1 of a list of one element: ONNX has no other way to raise an error
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
    after = [helper.make_node("Add", ["ms_network_score", "ms_nothing"], ["score"])]
    _rename_output(graph, "score", "ms_network_score")
    nodes = [*before, *graph.node, *after]
    others = [output for output in graph.output if output.name != "score"]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, "H", "W"]))
    graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]))
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
