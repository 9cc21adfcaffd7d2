"""The operating point as nodes behind a scoring graph: changed without training anything again."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from medscreen.operating import OperatingPoint
from medscreen.packaging.format import METADATA


def package(scoring: onnx.ModelProto, point: OperatingPoint, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """A scoring graph with the operating point's nodes appended and `metadata` written into it."""
    model = onnx.ModelProto()
    model.CopyFrom(scoring)
    graph = model.graph
    healthy = np.array(point.healthy_scores, np.float32)
    constants: dict[str, np.ndarray] = {
        "op_threshold": np.array(point.threshold, np.float32),
        "op_healthy": healthy[None, :],
        "op_column": np.array([-1, 1], np.int64),
        "op_axis": np.array([1], np.int64),
        "op_one": np.array(1.0, np.float32),
        "op_number": np.array(len(healthy) + 1, np.float32),
        "op_slope": np.array(point.slope, np.float32),
        "op_intercept": np.array(point.intercept, np.float32),
    }
    graph.node.extend(
        [
            # not "score >= threshold": a score that is not a number is no reason to call an image normal
            helper.make_node("Less", ["score", "op_threshold"], ["op_below"]),
            helper.make_node("Not", ["op_below"], ["abnormal"]),
            helper.make_node("Reshape", ["score", "op_column"], ["op_scores"]),
            helper.make_node("GreaterOrEqual", ["op_healthy", "op_scores"], ["op_at_least"]),
            helper.make_node("Cast", ["op_at_least"], ["op_counted"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["op_counted", "op_axis"], ["op_count"], keepdims=0),
            helper.make_node("Add", ["op_count", "op_one"], ["op_rank"]),
            helper.make_node("Div", ["op_rank", "op_number"], ["p_value"]),
            helper.make_node("Mul", ["score", "op_slope"], ["op_scaled"]),
            helper.make_node("Add", ["op_scaled", "op_intercept"], ["op_logit"]),
            helper.make_node("Sigmoid", ["op_logit"], ["probability"]),
        ]
    )
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.output.extend(
        [
            helper.make_tensor_value_info("p_value", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("abnormal", TensorProto.BOOL, ["N"]),
        ]
    )
    described = dict(metadata) | {"operating_point": asdict(point) | {"healthy_scores": len(healthy)}}
    helper.set_model_props(model, {METADATA: json.dumps(described, sort_keys=True)})
    onnx.checker.check_model(model)
    return model
