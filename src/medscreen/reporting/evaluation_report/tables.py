"""All that is reported of one detector: numbers for DVC and MLflow, and the tables behind them."""

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
    """A detector's outputs for a split; the arrays of `outcomes` and `attributes` have one entry an image.

    `p_values` (N,) are conformal; `classes`, (N, K) probabilities, is None of a detector without classes of findings.
    `in_domain` is None of a package without the domain check.
    """

    outcomes: Outcomes
    attributes: Mapping[str, Sequence[str]]
    p_values: Floats
    classes: Floats | None = None
    in_domain: NDArray[np.bool_] | None = None


def metrics(splits: Mapping[str, Judged], params: EvaluationParams, seed: int) -> dict[str, dict[str, Any]]:
    """Split -> metric -> estimate, with `balanced_view` and `at_prevalence` as blocks of their own."""
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
    """The tables behind the metrics: threshold comparison, calibration, subgroups, findings, seeds; ready for JSON.

    `classes` names those of `Judged.classes`. `scores_by_seed`: seed -> split -> scores of further trainings.
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
    """The values of val and test that fit a line: what `dvc metrics show` prints."""
    return {split: {name: report[split][name]["value"] for name in _HEADLINE} for split in ("val", "test")}


def _share(chosen: NDArray[np.bool_], outcomes: Outcomes, bootstrap: Bootstrap) -> Estimate:
    """The share of the images that is chosen, with its interval."""
    return evaluate(replace(outcomes, deferred=~chosen), bootstrap, ["coverage"])["coverage"]


def _alarms(judged: Judged, level: float, bootstrap: Bootstrap) -> Estimate:
    """The share of healthy images whose p-value is at most `level`: at most that if they are like those of `val`."""
    by_p_value = replace(judged.outcomes, abnormal=judged.p_values <= level)
    return evaluate(by_p_value, bootstrap, ["false_positive_rate"])["false_positive_rate"]


def _over_seeds(
    outcomes: Outcomes, split: str, scores_by_seed: Mapping[int, Mapping[str, Floats]], seed: int
) -> dict[str, Any]:
    """AUROC of each training, and their spread."""
    trained = {seed: outcomes.scores} | {other: scores[split] for other, scores in scores_by_seed.items()}
    values = {str(number): _auroc(outcomes, scores) for number, scores in trained.items()}
    return {"auroc": values, **spread([value for value in values.values() if value is not None])}


def _auroc(outcomes: Outcomes, scores: Floats) -> float | None:
    """None where a class is missing."""
    as_scored = replace(outcomes, scores=scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(auroc(as_scored, np.ones((1, len(scores))))[0])
    return round(value, 6) if np.isfinite(value) else None


def _classes(test: Judged, probabilities: Floats, names: Sequence[str], bootstrap: Bootstrap) -> dict[str, Any]:
    """One row a class, the macro average and the confusion matrix; all normal images are one class."""
    outcomes = test.outcomes
    found = [
        finding if label else names[0] for label, finding in zip(outcomes.labels, test.attributes[FINDING], strict=True)
    ]
    if unknown := set(found) - set(names):
        raise MedscreenError(
            f"The test split has the finding {quoted(min(unknown))}, and the detector has the classes "
            f"{', '.join(names[1:])}; name it in the detector's findings: in params.yaml."
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
