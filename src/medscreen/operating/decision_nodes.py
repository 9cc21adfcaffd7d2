"""Operating point as ONNX nodes appended to a scoring graph; it can be changed without retraining."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from medscreen.config.former_names import current_in_package, with_current_metadata
from medscreen.operating.operating_point import OperatingPoint
from medscreen.operating.probability_calibration import Curve, LogisticCurve, SteppedCurve

METADATA = "medscreen"
"""Key of the ONNX metadata property that holds the package's metadata as JSON."""

PREFIX = "op_"
"""Name prefix of all constants and intermediate values of the operating point."""
_OUTPUTS = {
    "p_value": TensorProto.FLOAT,
    "probability": TensorProto.FLOAT,
    "abnormal": TensorProto.BOOL,
    "deferred": TensorProto.BOOL,
}


def package(scoring: onnx.ModelProto, point: OperatingPoint, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """Appends the nodes of the operating point to a copy of a scoring graph, and adds `metadata`."""
    model = onnx.ModelProto()
    model.CopyFrom(scoring)
    graph = model.graph
    healthy = np.array(point.healthy_scores, np.float32)
    constants: dict[str, np.ndarray] = {
        "op_threshold": np.array(point.threshold, np.float32),
        "op_defer_from": np.array(point.defer_from, np.float32),
        "op_defer_to": np.array(point.defer_to, np.float32),
        "op_healthy": healthy[None, :],
        "op_column": np.array([-1, 1], np.int64),
        "op_axis": np.array([1], np.int64),
        "op_one": np.array(1.0, np.float32),
        "op_number": np.array(len(healthy) + 1, np.float32),
    }
    graph.node.extend(
        [
            # Not(score < threshold), not score >= threshold, so that a NaN score is called abnormal
            helper.make_node("Less", ["score", "op_threshold"], ["op_below"]),
            helper.make_node("Not", ["op_below"], ["abnormal"]),
            helper.make_node("Less", ["score", "op_defer_from"], ["op_surely_normal"]),
            helper.make_node("GreaterOrEqual", ["score", "op_defer_to"], ["op_surely_abnormal"]),
            helper.make_node("Or", ["op_surely_normal", "op_surely_abnormal"], ["op_sure"]),
            helper.make_node("Not", ["op_sure"], ["deferred"]),
            helper.make_node("Reshape", ["score", "op_column"], ["op_scores"]),
            helper.make_node("GreaterOrEqual", ["op_healthy", "op_scores"], ["op_at_least"]),
            helper.make_node("Cast", ["op_at_least"], ["op_counted"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["op_counted", "op_axis"], ["op_count"], keepdims=0),
            helper.make_node("Add", ["op_count", "op_one"], ["op_rank"]),
            helper.make_node("Div", ["op_rank", "op_number"], ["p_value"]),
        ]
    )
    nodes, curve_constants = _curve(point.curve)
    graph.node.extend(nodes)
    constants |= curve_constants
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.output.extend(helper.make_tensor_value_info(name, kind, ["N"]) for name, kind in _OUTPUTS.items())
    described = dict(metadata) | {"operating_point": asdict(point) | {"healthy_scores": len(healthy)}}
    helper.set_model_props(model, {METADATA: json.dumps(described, sort_keys=True)})
    onnx.checker.check_model(model)
    return model


def scoring_part(packaged: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Inverse of `package`: the graph without the operating point, and the metadata."""
    model = onnx.ModelProto()
    model.CopyFrom(packaged)
    graph = model.graph
    metadata = with_current_metadata(
        json.loads(next(entry.value for entry in model.metadata_props if entry.key == METADATA))
    )
    del metadata["operating_point"]
    del model.metadata_props[:]
    nodes = [node for node in graph.node if not any(n.startswith(PREFIX) for n in (*node.input, *node.output))]
    constants = [constant for constant in graph.initializer if not constant.name.startswith(PREFIX)]
    outputs = [output for output in graph.output if current_in_package(output.name) not in _OUTPUTS]
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.output.extend(outputs)
    return model, metadata


def _curve(curve: Curve) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Nodes from `score` to `probability`, and their constants."""
    match curve:
        case LogisticCurve():
            nodes = [
                helper.make_node("Mul", ["score", "op_slope"], ["op_scaled"]),
                helper.make_node("Add", ["op_scaled", "op_intercept"], ["op_logit"]),
                helper.make_node("Sigmoid", ["op_logit"], ["probability"]),
            ]
            return nodes, {
                "op_slope": np.array(curve.slope, np.float32),
                "op_intercept": np.array(curve.intercept, np.float32),
            }
        case SteppedCurve():
            # piecewise linear: each segment adds the fraction of its rise that the score has passed
            scores, probabilities = np.array(curve.scores), np.array(curve.probabilities)
            nodes = [
                helper.make_node("Sub", ["op_scores", "op_starts"], ["op_beyond"]),
                helper.make_node("Div", ["op_beyond", "op_lengths"], ["op_passed"]),
                helper.make_node("Clip", ["op_passed", "op_none", "op_one"], ["op_share"]),
                helper.make_node("Mul", ["op_share", "op_rises"], ["op_risen"]),
                helper.make_node("ReduceSum", ["op_risen", "op_axis"], ["op_total"], keepdims=0),
                helper.make_node("Add", ["op_total", "op_first"], ["op_sum"]),
                helper.make_node("Clip", ["op_sum", "op_none", "op_one"], ["probability"]),
            ]
            return nodes, {
                "op_none": np.array(0.0, np.float32),
                "op_starts": scores[None, :-1].astype(np.float32),
                "op_lengths": np.diff(scores)[None, :].astype(np.float32),
                "op_rises": np.diff(probabilities)[None, :].astype(np.float32),
                "op_first": np.array(probabilities[0], np.float32),
            }
