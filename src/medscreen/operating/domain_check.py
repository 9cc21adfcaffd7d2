"""Domain check of a detector: fitted to its training images, calibrated on tune and val."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from medscreen.data.images import ImageSet, Pixels
from medscreen.operating.domain_distance import LEVEL, conformal_threshold, guaranteed, learn_distance
from medscreen.operating.domain_nodes import (
    EMBEDDING,
    FEATURES,
    STATISTICS,
    distance_of,
    last_input,
    with_distances,
    with_features,
    with_limits,
    with_statistics,
)
from medscreen.operating.graph_values import Values, values_from, values_of_images

_MOST_IMAGES = 2048  # enough for a covariance of a few hundred columns
_MOST_COLUMNS = 4096  # of a detector's features: with more, the check would cost more time than the detector


def with_domain_check(
    scoring: onnx.ModelProto, train: ImageSet, calibrating: Sequence[ImageSet], views: int, threads: int
) -> tuple[onnx.ModelProto, dict[str, Any], list[Values]]:
    """The scoring graph with the output `in_domain`; metadata of the check; graph values of each image set.

    An image is out of domain if its image statistics, or the detector's features if it has any, are too far from those
    of the training images; see `domain_nodes.last_input`, and `with_features` for `views`. With features, each
    of the two checks has the level `LEVEL` / 2, so that together they reject at most `LEVEL` of in-domain images.
    `calibrating`: images not used to fit the distances. The values, for train and then `calibrating`, are the scoring
    graph's outputs, distances and embedding; each image passes the network once.
    """
    size = int(train.pixels.shape[1])
    source = _feature_source(scoring, train.pixels, views, threads)
    measured = with_statistics(with_features(scoring, source, views) if source else scoring, size)
    vectors = [STATISTICS, FEATURES] if source else [STATISTICS]
    outputs = [output.name for output in scoring.graph.output]
    values = [values_of_images(measured, of.pixels, outputs + vectors, threads) for of in (train, *calibrating)]
    learned_from = _spread_evenly(len(train))
    if source and not np.isfinite(values[0][FEATURES][learned_from]).all():
        vectors, measured = [STATISTICS], with_statistics(scoring, size)
    distances = {name: learn_distance(values[0][name][learned_from].astype(np.float64)) for name in vectors}
    model = with_distances(measured, distances)
    names = [distance_of(name) for name in vectors] + [EMBEDDING] * (FEATURES in vectors)
    for found in values:
        found.update(values_from(model, {name: found[name] for name in vectors}, names, size, threads))
        for name in (STATISTICS, FEATURES):
            found.pop(name, None)
    patients = np.concatenate([images.patients for images in calibrating])
    level = LEVEL / len(distances)
    thresholds = {}
    for name in vectors:
        of_calibrating = np.concatenate([found[distance_of(name)] for found in values[1:]]).astype(np.float64)
        thresholds[name] = conformal_threshold(of_calibrating, patients, level)
    number = len(np.unique(patients))
    described = {
        "level": LEVEL,
        "guaranteed": min(1.0, guaranteed(number, level) * len(distances)),
        "compares": ["image statistics", "features of the detector"][: len(distances)],
        "learned_from": len(learned_from),
        "calibrated_on": {"images": len(patients), "patients": number},
    }
    return with_limits(model, thresholds), described, values


def _spread_evenly(number: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, number - 1, min(number, _MOST_IMAGES)).round().astype(np.int64))


def _feature_source(scoring: onnx.ModelProto, pixels: Pixels, views: int, threads: int) -> str | None:
    """Name of the graph value with the detector's feature vectors, one per view of an image; None without one."""
    source = last_input(scoring)
    if source is None:
        return None
    pair = pixels[[0, -1]]
    shape = values_of_images(scoring, pair, [source], threads)[source].shape
    return source if shape[:-1] == (views * len(pair),) and shape[-1] <= _MOST_COLUMNS else None
