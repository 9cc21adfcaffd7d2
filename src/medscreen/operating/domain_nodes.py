"""Domain check as ONNX nodes appended to a scoring graph: output `in_domain`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from medscreen.operating.domain_distance import Distance

STATISTICS, FEATURES = "domain_statistics", "domain_features"
"""Values of the graph, (N, D): image statistics, and input of the detector's last layer."""
EMBEDDING = f"{FEATURES}_projected"
"""Features, standardized and projected onto the principal axes of the training images, (N, at most 128)."""

IN_DOMAIN = "in_domain"

_LEVELS = 8  # gray levels
_WAVES = 8  # lowest frequencies along each side, for the layout of the image
_ROUNDING = 1e-6  # about the energy of rounding to 256 levels, 1 / 12 / 255**2
_Constants = Mapping[str, np.ndarray]


def with_statistics(scoring: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Adds the value `domain_statistics` (N, D), computed from images (N, 1, size, size) in 0..1.

    The statistics are a soft cumulative histogram of eight gray levels, the lowest 8 x 8 coefficients of the cosine
    transform (layout of bright and dark areas), and the log energy of the coefficients by octave of rows and of columns
    (scale and direction of structures).
    """
    waves, octaves = min(_WAVES, size), math.ceil(math.log2(size)) + 1
    constants: dict[str, np.ndarray] = {
        "domain_levels": np.array(_LEVELS, np.float32),
        "domain_starts": np.arange(_LEVELS, dtype=np.float32)[None, :, None, None],
        "domain_none": np.array(0.0, np.float32),
        "domain_one": np.array(1.0, np.float32),
        "domain_places": np.array([2, 3], np.int64),
        "domain_cosines": _cosines(size),
        "domain_cosines_transposed": np.ascontiguousarray(_cosines(size).T),
        "domain_from": np.array([0, 0], np.int64),
        "domain_to": np.array([waves, waves], np.int64),
        "domain_flat": np.array([0, -1], np.int64),
        "domain_side": np.array(size, np.float32),
        "domain_octaves": _octaves(size),
        "domain_octaves_transposed": np.ascontiguousarray(_octaves(size).T),
        "domain_behind_mean": np.array([1], np.int64),
        "domain_last": np.array([octaves**2], np.int64),
        "domain_second": np.array([1], np.int64),
        "domain_rounding": np.array(_ROUNDING, np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["images", "domain_levels"], ["domain_grey"]),
        helper.make_node("Sub", ["domain_grey", "domain_starts"], ["domain_above"]),
        helper.make_node("Clip", ["domain_above", "domain_none", "domain_one"], ["domain_reached"]),
        helper.make_node("ReduceMean", ["domain_reached", "domain_places"], ["domain_shares"], keepdims=0),
        helper.make_node("MatMul", ["domain_cosines", "images"], ["domain_by_rows"]),
        helper.make_node("MatMul", ["domain_by_rows", "domain_cosines_transposed"], ["domain_waves"]),
        helper.make_node("Slice", ["domain_waves", "domain_from", "domain_to", "domain_places"], ["domain_lowest"]),
        helper.make_node("Reshape", ["domain_lowest", "domain_flat"], ["domain_flat_lowest"]),
        helper.make_node("Div", ["domain_flat_lowest", "domain_side"], ["domain_layout"]),
        helper.make_node("Mul", ["domain_waves", "domain_waves"], ["domain_energy"]),
        helper.make_node("MatMul", ["domain_octaves", "domain_energy"], ["domain_row_energy"]),
        helper.make_node("MatMul", ["domain_row_energy", "domain_octaves_transposed"], ["domain_band_energy"]),
        helper.make_node("Reshape", ["domain_band_energy", "domain_flat"], ["domain_all_bands"]),
        # without the first, the mean gray, which is part of the layout
        helper.make_node(
            "Slice", ["domain_all_bands", "domain_behind_mean", "domain_last", "domain_second"], ["domain_bands"]
        ),
        helper.make_node("Add", ["domain_bands", "domain_rounding"], ["domain_seen_bands"]),
        helper.make_node("Log", ["domain_seen_bands"], ["domain_spectrum"]),
        helper.make_node("Concat", ["domain_shares", "domain_layout", "domain_spectrum"], [STATISTICS], axis=1),
    ]
    return _extended(scoring, nodes, constants)


def last_input(scoring: onnx.ModelProto) -> str | None:
    """Input of the graph's last product with a constant matrix; None without one.

    It is the input of a classifier's last layer, the code of an autoencoder or the scaled vector of a distance. It can
    also be patches or a map before resizing, which the caller excludes by their shape.
    """
    matrices = {constant.name for constant in scoring.graph.initializer if len(constant.dims) == 2}
    products = [node for node in scoring.graph.node if node.op_type in {"Gemm", "MatMul"} and node.input[1] in matrices]
    return products[-1].input[0] if products else None


def with_features(scoring: onnx.ModelProto, source: str, views: int) -> onnx.ModelProto:
    """Adds the value `domain_features` (N, D): the mean over views of the value `source` (views * N, D).

    `source` holds the first view of all images, then the next.
    """
    constants = {"domain_views": np.array([views], np.int64), "domain_width": np.array([-1], np.int64)}
    nodes = [
        helper.make_node("Shape", ["pixels"], ["domain_number"], start=0, end=1),
        helper.make_node("Concat", ["domain_views", "domain_number", "domain_width"], ["domain_shape"], axis=0),
        helper.make_node("Reshape", [source, "domain_shape"], ["domain_of_views"]),
        helper.make_node("Constant", [], ["domain_first"], value_ints=[0]),
        helper.make_node("ReduceMean", ["domain_of_views", "domain_first"], [FEATURES], keepdims=0),
    ]
    return _extended(scoring, nodes, constants)


def with_distances(model: onnx.ModelProto, distances: Mapping[str, Distance]) -> onnx.ModelProto:
    """Adds the value `distance_of(value)` (N,) for each value (N, D) in `distances`."""
    nodes: list[NodeProto] = []
    constants: dict[str, np.ndarray] = {"domain_along": np.array([1], np.int64)}
    for value, distance in distances.items():
        added, learned = _distance(value, distance)
        nodes += added
        constants |= learned
    return _extended(model, nodes, constants)


def with_limits(model: onnx.ModelProto, thresholds: Mapping[str, float]) -> onnx.ModelProto:
    """Adds the output `in_domain`: True if no distance exceeds its threshold.

    An image with a NaN distance is out of domain.
    """
    nodes, constants, within = [], {}, []
    for value, threshold in thresholds.items():
        constants[f"{value}_threshold"] = np.array(threshold, np.float32)
        within.append(f"{value}_within")
        nodes.append(helper.make_node("LessOrEqual", [distance_of(value), f"{value}_threshold"], within[-1:]))
    nodes.append(helper.make_node("And" if len(within) > 1 else "Identity", within, [IN_DOMAIN]))
    limited = _extended(model, nodes, constants)
    limited.graph.output.append(helper.make_tensor_value_info(IN_DOMAIN, TensorProto.BOOL, ["N"]))
    onnx.checker.check_model(limited)
    return limited


def distance_of(value: str) -> str:
    """Name of the distance of a value."""
    return f"{value}_distance"


def _distance(value: str, distance: Distance) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Nodes and constants from a value (N, D) to its distance (N,)."""
    constants = {
        "mean": distance.mean[None],
        "spread": distance.spread[None],
        "axes": distance.axes,
        "axes_transposed": distance.axes.T,
        "precisions": distance.precisions[None],
        "rest": np.array(distance.rest),
    }
    steps = [
        ("Sub", (value, "mean"), "centered"),
        ("Div", ("centered", "spread"), "scaled"),
        ("MatMul", ("scaled", "axes"), "projected"),
        ("MatMul", ("projected", "axes_transposed"), "spanned"),
        ("Sub", ("scaled", "spanned"), "across"),
        ("Mul", ("projected", "projected"), "squares"),
        ("Mul", ("squares", "precisions"), "weighed"),
        ("ReduceSum", ("weighed", "domain_along"), "inner"),
        ("ReduceSumSquare", ("across", "domain_along"), "outer"),
        ("Mul", ("outer", "rest"), "residual"),
        ("Add", ("inner", "residual"), "distance"),
    ]

    def name(part: str) -> str:
        return part if part in {value, "domain_along"} else f"{value}_{part}"

    nodes = []
    for kind, parts, made in steps:
        attributes: dict[str, Any] = {"keepdims": 0} if kind.startswith("Reduce") else {}
        nodes.append(helper.make_node(kind, [*map(name, parts)], [name(made)], **attributes))
    return nodes, {name(part): np.ascontiguousarray(array, np.float32) for part, array in constants.items()}


def _extended(model: onnx.ModelProto, nodes: Sequence[NodeProto], constants: _Constants) -> onnx.ModelProto:
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    extended.graph.node.extend(nodes)
    extended.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return extended


def _cosines(size: int) -> np.ndarray:
    """Matrix of the orthonormal discrete cosine transform (DCT-II); row k has frequency k."""
    waves, places = np.arange(size)[:, None], np.arange(size)[None, :]
    matrix = np.cos(np.pi * waves * (places + 0.5) / size) * math.sqrt(2 / size)
    matrix[0] = math.sqrt(1 / size)
    return matrix.astype(np.float32)


def _octaves(size: int) -> np.ndarray:
    """Matrix (octaves, size) of means over the frequencies 0, 1, 2 to 3, 4 to 7 and so on."""
    octave = np.array([wave.bit_length() for wave in range(size)])
    members = (np.arange(octave[-1] + 1)[:, None] == octave[None, :]).astype(np.float32)
    means: np.ndarray = members / members.sum(1, keepdims=True)
    return means
