"""Validation of a map: localization, deletion and insertion, randomization; a map that fails is not shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from medscreen.data.images import ImageSet
from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.outcomes import Floats
from medscreen.evaluation.sample_size import FEWEST
from medscreen.explain.localization import Localization, Masks, by_chance, center_blob, localize
from medscreen.explain.packaged_map import Maps, PackagedMap, is_constant
from medscreen.explain.perturbation import SHARES, perturbation_curves
from medscreen.explain.randomization import rank_correlations, with_shuffled_weights
from medscreen.packaging.packaged_detector import PackagedDetector

_MOST_MAPS, _MOST_RANDOMIZED, _MOST_PERTURBED = 256, 32, 12  # images; each perturbed one is scored 32 times
_SHUFFLES = 2
UNCHANGED = 0.5
"""Limit of the rank correlation with maps of shuffled weights; the upper end of its interval has to be below."""
NO_MASKS = "the data set has no lesion masks"


@dataclass(frozen=True)
class Subject:
    """Input of the validation: packaged detector, file of its map graph, abnormal images.

    `masks`: lesion masks; None if the data set has none.
    """

    detector: PackagedDetector
    graph: Path
    images: ImageSet
    masks: Masks | None
    threads: int


def prove(subject: Subject, bootstrap: Bootstrap) -> dict[str, Any]:
    """Validates the map of a detector; returns the content of explanations.json.

    Intervals are by bootstrap over patients. `shown` is False, with the reason, for a map that does not beat chance and
    the center blob, or that hardly changes when the weights are shuffled. With fewer than FEWEST patients nothing is
    measured, and the map is not shown.
    """
    chosen = _spread_evenly(len(subject.images), _MOST_MAPS)
    sample, masks = subject.images.take(chosen), None if subject.masks is None else subject.masks[chosen]
    about = {**subject.detector.metadata["explanation"], "images": len(sample)}
    if (patients := len(np.unique(sample.patients))) < FEWEST:
        reason = f"validation needs abnormal images of at least {FEWEST} patients, the test split has {patients}"
        return {"shown": False, "reason": reason, **about}
    maps = PackagedMap(subject.graph, subject.threads).maps(sample.pixels)
    report: dict[str, Any] = {
        **about,
        "constant_maps": int(is_constant(maps).sum()),
        "localization": None if masks is None else _localization(maps, masks, sample, bootstrap),
        "randomization": _randomization(subject, sample, maps, bootstrap),
        "perturbation": _perturbation(subject, sample, maps, bootstrap),
    }
    if masks is None:
        report["localization_reason"] = NO_MASKS
    reason = _doubt(report)
    return {"shown": not reason, "reason": reason, **report}


def _localization(maps: Maps, masks: Masks, images: ImageSet, bootstrap: Bootstrap) -> dict[str, Any]:
    """Pointing game and energy inside: of the map, of its references, and the paired differences."""
    found: dict[str, Localization] = {
        "map": localize(maps, masks),
        "chance": by_chance(masks),
        "center_blob": localize(center_blob(*maps.shape[:2]), masks),
    }

    def block(values: dict[str, Floats]) -> dict[str, Any]:
        over = {f"over_{name}": values["map"] - of for name, of in values.items() if name != "map"}
        return {name: _mean(of, images, bootstrap) for name, of in (values | over).items()}

    def column(name: str) -> dict[str, Floats]:
        return {kind: getattr(of, name) for kind, of in found.items()}

    return {"pointing_game": block(column("hits")), "energy_inside": block(column("energy"))}


def _randomization(subject: Subject, sample: ImageSet, maps: Maps, bootstrap: Bootstrap) -> dict[str, Any]:
    chosen = _spread_evenly(len(sample), _MOST_RANDOMIZED)
    images, graph = sample.take(chosen), onnx.load(subject.graph)
    found = []
    for seed in range(_SHUFFLES):
        shuffled = PackagedMap(with_shuffled_weights(graph, seed), subject.threads)
        found.append(rank_correlations(maps[chosen], shuffled.maps(images.pixels)))
    estimate = _mean(np.mean(found, axis=0), images, bootstrap)
    return {"images": len(images), "shuffles": _SHUFFLES, "rank_correlation": estimate}


def _perturbation(subject: Subject, sample: ImageSet, maps: Maps, bootstrap: Bootstrap) -> dict[str, Any]:
    """Curves by the map, and by the map of another image as reference for the same number of pixels elsewhere."""
    chosen = _spread_evenly(len(sample), _MOST_PERTURBED)
    images = sample.take(chosen)
    report: dict[str, Any] = {"images": len(images), "shares": list(SHARES)}
    curves = {}
    for name, by in (("map", maps[chosen]), ("map_of_another_image", np.roll(maps[chosen], 1, axis=0))):
        curves[name] = perturbation_curves(
            lambda pixels: subject.detector.screen(pixels).probability.astype(np.float64), images.pixels, by
        )
    for number, kind in enumerate(("deletion", "insertion")):
        means = {name: of[number][:, 1:].mean(1) for name, of in curves.items()}
        means["difference"] = means["map"] - means["map_of_another_image"]
        report[kind] = {
            "curves": {name: [round(float(v), 6) for v in of[number].mean(0)] for name, of in curves.items()},
            "mean": {name: _mean(values, images, bootstrap) for name, values in means.items()},
        }
    return report


def _mean(values: Floats, images: ImageSet, bootstrap: Bootstrap) -> Estimate:
    weights = bootstrap.weights(images.patients)
    return bootstrap.estimate(weights @ values / weights.sum(1))


def _spread_evenly(number: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, number - 1, min(number, most)).round().astype(np.int64))


def _doubt(report: dict[str, Any]) -> str:
    """Reason not to show the map; "" without one."""
    correlation = report["randomization"]["rank_correlation"]["high"]
    if correlation >= UNCHANGED:
        return f"it hardly changes when the weights are shuffled (rank correlation up to {correlation:.2f})"
    for game, words in (("pointing_game", "maximum"), ("energy_inside", "energy")):
        for reference, name in (("over_chance", "expected by chance"), ("over_center_blob", "that of a central blob")):
            block = report["localization"]
            if block is not None and not block[game][reference]["low"] > 0:
                return f"its {words} is inside lesions no more than {name}"
    return ""
