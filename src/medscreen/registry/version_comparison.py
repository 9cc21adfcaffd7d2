"""Comparison of two registered versions: metrics on the same images of `val`, and settings."""

from dataclasses import dataclass

import numpy as np
from mlflow import MlflowClient

from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.paired_comparison import paired_bootstrap
from medscreen.registry.gate_evidence import Evidence
from medscreen.registry.versions import Version
from medscreen.tracking import names
from medscreen.tracking.run_state import find_run, settings_of

_METRICS = ["auroc", "average_precision", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "brier"]


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison of versions a and b.

    `images`: number of images of `val` whose patients neither was trained on. `metrics`: name -> estimates of a, b and
    a - b. `differ`: parameter or tag -> differing values of a and b, "-" if missing.
    """

    images: int
    metrics: dict[str, tuple[Estimate, Estimate, Estimate]]
    differ: dict[str, tuple[str, str]]


def compare(client: MlflowClient, evidence: Evidence, a: Version, b: Version, bootstrap: Bootstrap) -> Comparison:
    """Paired comparison with bootstrap intervals over patients; raises LostVersionError if scoring fails."""
    ours, theirs = evidence.contestant(a), evidence.contestant(b)
    images = np.flatnonzero(ours.unseen & theirs.unseen)
    pair = ours.val.take(images), theirs.val.take(images)
    of_each = [evaluate(one, bootstrap, _METRICS) for one in pair]
    metrics = {
        name: (of_each[0][name], of_each[1][name], paired_bootstrap(*pair, name, bootstrap)) for name in _METRICS
    }
    return Comparison(len(images), metrics, _differences(client, a, b))


def _differences(client: MlflowClient, a: Version, b: Version) -> dict[str, tuple[str, str]]:
    ours, theirs = _made_from(client, a), _made_from(client, b)
    pairs = {name: (ours.get(name, "-"), theirs.get(name, "-")) for name in sorted({*ours, *theirs})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _made_from(client: MlflowClient, version: Version) -> dict[str, str]:
    named = {name: version.tags.get(name, "-") for name in (names.DATA, names.SPLITS, names.COMMIT, names.DIRTY)}
    run = find_run(client, version.run_id)
    return {**(settings_of(run) if run is not None else {}), **named}
