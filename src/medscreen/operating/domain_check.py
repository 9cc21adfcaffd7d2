"""The domain check of a detector: learned on its training images, calibrated on tune and val."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from medscreen.data.images import ImageSet, Pixels, batches
from medscreen.operating.domain_distance import LEVEL, conformal_threshold, guaranteed, learn_distance
from medscreen.operating.domain_nodes import (
    FEATURES,
    STATISTICS,
    distance_of,
    last_input,
    part_for,
    with_distances,
    with_features,
    with_limits,
    with_statistics,
)

_MOST_IMAGES = 2048  # for a covariance of a few hundred columns: more hardly change it, and cost a run of the network
_MOST_COLUMNS = 4096  # of a detector's features: beyond that, the check would cost more than the detector


def with_domain_check(
    scoring: onnx.ModelProto, train: ImageSet, calibrating: Sequence[ImageSet], views: int, threads: int
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The scoring graph with the output `in_domain`, and what the package's metadata state of the check.

    An image is outside where its statistics are too far from those of the training images, or where the detector's own
    features are, if it has any: see `domain_nodes.last_input`, and `with_features` for `views`. Each of the two may
    call half of `LEVEL` of the images like the training images outside, so that together they call at most `LEVEL`.
    `calibrating`: images that no distance was learned from.
    """
    size, shown = int(train.pixels.shape[1]), train.pixels[_spread_evenly(len(train))]
    model = with_statistics(scoring, size)
    distances = {STATISTICS: learn_distance(_vectors(model, STATISTICS, shown, threads))}
    if (source := _features(scoring, shown, views, threads)) is not None:
        featured = with_features(scoring, source, views)
        features = _vectors(featured, FEATURES, shown, threads)
        if np.isfinite(features).all():
            model, distances[FEATURES] = with_statistics(featured, size), learn_distance(features)
    model = with_distances(model, distances)
    patients = np.concatenate([images.patients for images in calibrating])
    level = LEVEL / len(distances)
    thresholds = {}
    for value in distances:
        parts = [_vectors(model, distance_of(value), images.pixels, threads) for images in calibrating]
        thresholds[value] = conformal_threshold(np.concatenate(parts), patients, level)
    people = len(np.unique(patients))
    return with_limits(model, thresholds), {
        "level": LEVEL,
        "guaranteed": min(1.0, guaranteed(people, level) * len(distances)),
        "compares": ["image statistics", "features of the detector"][: len(distances)],
        "learned_from": len(shown),
        "calibrated_on": {"images": len(patients), "patients": people},
    }


def _spread_evenly(number: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, number - 1, min(number, _MOST_IMAGES)).round().astype(np.int64))


def _features(scoring: onnx.ModelProto, pixels: Pixels, views: int, threads: int) -> str | None:
    """The value that holds the detector's own features, a vector for each view of an image; None without one."""
    source = last_input(scoring)
    if source is None:
        return None
    pair = pixels[[0, -1]]
    shape = _vectors(scoring, source, pair, threads).shape
    return source if shape[:-1] == (views * len(pair),) and shape[-1] <= _MOST_COLUMNS else None


def _vectors(model: onnx.ModelProto, value: str, pixels: Pixels, threads: int) -> NDArray[np.float64]:
    """A value of the graph, (N, ...), of images (N, S, S)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    part = part_for(model, [value]).SerializeToString()
    session = onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])

    def parts() -> Iterator[NDArray[np.float64]]:
        for batch in batches(len(pixels), pixels.shape[1]):
            yield session.run([value], {"pixels": np.ascontiguousarray(pixels[batch, None])})[0].astype(np.float64)

    return np.concatenate(list(parts()))
