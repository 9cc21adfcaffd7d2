"""Reports of one detector: metrics for DVC and MLflow, and detailed tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.operating import EvaluationParams
from medscreen.data.attributes import group, quoted
from medscreen.data.images import FINDING
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.calibration_error import ece_by_chance, reliability
from medscreen.evaluation.decision_curve import decision_curve, predictive_values
from medscreen.evaluation.metrics import auroc, evaluate
from medscreen.evaluation.multiclass import ClassOutcomes, confusion_matrix, macro_auroc, per_class
from medscreen.evaluation.outcomes import Floats, Outcomes, balanced_view
from medscreen.evaluation.paired_comparison import spread
from medscreen.evaluation.per_finding import findings
from medscreen.evaluation.score_distribution import score_distribution
from medscreen.evaluation.subgroups import subgroups
from medscreen.operating.threshold_comparison import compare_policies

_OF_TRAIN = ["accuracy"]
_HEADLINE = ("auroc", "balanced_accuracy", "sensitivity", "specificity")
_OF_SUBGROUPS = ["auroc", "sensitivity", "specificity"]
_LEVELS = (0.01, 0.05, 0.1)
_TREATMENT_THRESHOLDS = tuple(round(float(share), 2) for share in np.linspace(0.02, 0.98, 49))


@dataclass(frozen=True)
class Judged:
    """Outputs of a detector for the N images of a split.

    `p_values` (N,): conformal p-values. `classes` (N, K): probabilities, None for a detector without finding classes.
    `in_domain` (N,): None for a package without domain check.
    """

    outcomes: Outcomes
    attributes: Mapping[str, Sequence[str]]
    p_values: Floats
    classes: Floats | None = None
    in_domain: NDArray[np.bool_] | None = None


def metrics(splits: Mapping[str, Judged], params: EvaluationParams, seed: int) -> dict[str, dict[str, Any]]:
    """Split -> metric -> estimate, with `balanced_view` and `at_prevalence` as nested blocks."""
    bootstrap = Bootstrap(params.resamples, params.confidence, seed)
    report: dict[str, dict[str, Any]] = {}
    for split, judged in splits.items():
        outcomes, wanted = judged.outcomes, _OF_TRAIN if split == "train" else None
        view = outcomes.take(balanced_view(outcomes.labels, seed))
        report[split] = {**evaluate(outcomes, bootstrap, wanted), "balanced_view": evaluate(view, bootstrap, wanted)}
        if split != "train":
            report[split]["at_prevalence"] = predictive_values(outcomes, params.prevalence, bootstrap)
        if judged.in_domain is not None:
            report[split]["in_domain"] = _share(judged.in_domain, outcomes, bootstrap)
    return report


def analysis(
    splits: Mapping[str, Judged],
    classes: Sequence[str],
    scores_by_seed: Mapping[int, Mapping[str, Floats]],
    params: EvaluationParams,
    seed: int,
) -> dict[str, Any]:
    """Detailed tables for JSON: threshold comparison, calibration, subgroups, findings, seeds.

    `classes`: names for `Judged.classes`. `scores_by_seed`: seed -> split -> scores of further trainings.
    """
    bootstrap = Bootstrap(params.resamples, params.confidence, seed)
    test = splits["test"]
    outcomes = {split: judged.outcomes for split, judged in splits.items()}
    choosing = {split: outcomes[split] for split in ("val", "test")}
    report: dict[str, Any] = {
        "prevalence": params.prevalence,
        "scores": {split: score_distribution(of_split) for split, of_split in outcomes.items()},
        "threshold_comparison": compare_policies(params.threshold_comparison, choosing, bootstrap),
        "reliability": {split: reliability(of_split, params.confidence) for split, of_split in choosing.items()},
        "ece_by_chance": {split: ece_by_chance(of_split, bootstrap) for split, of_split in choosing.items()},
        "false_positive_rate_at_p": {str(level): _alarms(test, level, bootstrap) for level in _LEVELS},
        "decision_curve": decision_curve(test.outcomes, _TREATMENT_THRESHOLDS, bootstrap),
        "subgroups": {
            name: subgroups(test.outcomes, [group(name, value) for value in values], bootstrap, _OF_SUBGROUPS)
            for name, values in test.attributes.items()
            if name != FINDING
        },
        "findings": findings(test.outcomes, test.attributes[FINDING], bootstrap),
        "seeds": {split: _over_seeds(of_split, split, scores_by_seed, seed) for split, of_split in choosing.items()},
    }
    if test.classes is not None:
        report["classes"] = _classes(test, test.classes, classes, bootstrap)
    return report


def headline(report: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Main metrics of val and test, for `dvc metrics show`."""
    return {split: {name: report[split][name]["value"] for name in _HEADLINE} for split in ("val", "test")}


def _share(chosen: NDArray[np.bool_], outcomes: Outcomes, bootstrap: Bootstrap) -> Estimate:
    """Share of chosen images, with its interval."""
    return evaluate(replace(outcomes, deferred=~chosen), bootstrap, ["coverage"])["coverage"]


def _alarms(judged: Judged, level: float, bootstrap: Bootstrap) -> Estimate:
    """Share of healthy images with p-value <= `level`; expected at most `level` for images like those of val."""
    by_p_value = replace(judged.outcomes, abnormal=judged.p_values <= level)
    return evaluate(by_p_value, bootstrap, ["false_positive_rate"])["false_positive_rate"]


def _over_seeds(
    outcomes: Outcomes, split: str, scores_by_seed: Mapping[int, Mapping[str, Floats]], seed: int
) -> dict[str, Any]:
    """AUROC per seed, and its spread."""
    trained = {seed: outcomes.scores} | {other: scores[split] for other, scores in scores_by_seed.items()}
    values = {str(number): _auroc(outcomes, scores) for number, scores in trained.items()}
    return {"auroc": values, **spread([value for value in values.values() if value is not None])}


def _auroc(outcomes: Outcomes, scores: Floats) -> float | None:
    """AUROC, None if a class is missing."""
    as_scored = replace(outcomes, scores=scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(auroc(as_scored, np.ones((1, len(scores))))[0])
    return round(value, 6) if np.isfinite(value) else None


def _classes(test: Judged, probabilities: Floats, names: Sequence[str], bootstrap: Bootstrap) -> dict[str, Any]:
    """One row per class, macro average and confusion matrix; all normal images form one class."""
    outcomes = test.outcomes
    found = [
        finding if label else names[0] for label, finding in zip(outcomes.labels, test.attributes[FINDING], strict=True)
    ]
    if unknown := set(found) - set(names):
        raise MedscreenError(
            f"The test split has the finding {quoted(min(unknown))}, which is not among the classes of the detector "
            f"({', '.join(names[1:])}). Add it to findings: of the detector in params.yaml."
        )
    labels = np.array([names.index(finding) for finding in found])
    of_classes = ClassOutcomes(tuple(names), labels, probabilities, outcomes.patients)
    macro: Estimate = macro_auroc(of_classes, bootstrap)
    return {
        "names": list(names),
        "macro_auroc": macro,
        "rows": per_class(of_classes, bootstrap),
        "confusion": confusion_matrix(of_classes).tolist(),
    }
