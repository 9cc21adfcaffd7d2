"""Figures of the evaluation of a detector, one PNG file each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay, confusion_matrix

from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.reporting.evaluation_report.canvas import ABNORMAL, NORMAL, THRESHOLD, save_picture

_CHANCE = {"color": "0.7", "linestyle": "-", "linewidth": 1}


def save_pictures(
    splits: Mapping[str, Outcomes],
    healthy_p_values: Floats,
    analysis: Mapping[str, Any],
    threshold: float,
    name: str,
    folder: Path,
) -> None:
    """Writes the figures of a detector to `folder`; `splits`: val and test, in this order.

    `healthy_p_values`: conformal p-values of the normal images of test.
    """
    test = splits["test"]
    decisions = confusion_matrix(test.labels, test.abnormal.astype(int), labels=[0, 1])
    pictures: dict[str, tuple[str, Callable[..., None], tuple[Any, ...]]] = {
        "confusion": ("test split", draw_counts, (decisions, ["normal", "abnormal"])),
        "roc": ("test split", draw_roc, (test,)),
        "precision_recall": ("test split", draw_precision_recall, (test,)),
        "errors": ("scores with mean and standard deviation", draw_errors, (splits, threshold)),
        "reliability": ("probabilities", draw_reliability, (analysis["reliability"],)),
        "decision_curve": (
            "test split", draw_decision_curve, (analysis["decision_curve"], float(test.labels.mean())),
        ),
        "shift": ("conformal p-values", draw_shift, (healthy_p_values,)),
    }  # fmt: skip
    if classes := analysis.get("classes"):
        counts = (np.array(classes["confusion"]), classes["names"])
        pictures["classes"] = ("findings, test split", draw_counts, counts)
    for file, (about, draw, values) in pictures.items():
        save_picture(folder / f"{file}.png", f"{name}, {about}", draw, *values)


def draw_counts(axes: Axes, table: np.ndarray, names: Sequence[str]) -> None:
    """Draws a confusion matrix (K, K) with counts and row shares; colors show the shares."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=names)
    display.plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1})
    for place, text in np.ndenumerate(display.text_):
        text.set_text(f"{table[place]}\n{shares[place]:.1%}")
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_yticks(range(len(names)), names, rotation=90, va="center")


def draw_roc(axes: Axes, outcomes: Outcomes) -> None:
    """Draws the ROC curve and the operating point."""
    display = RocCurveDisplay.from_predictions(
        outcomes.labels, outcomes.scores, ax=axes, plot_chance_level=True, chance_level_kw=_CHANCE
    )
    display.line_.set(color=ABNORMAL, label="detector")  # without its area, which has no interval here
    rates = [outcomes.abnormal[outcomes.labels == label].mean() for label in (0, 1)]
    axes.plot(*rates, "o", color=THRESHOLD, label="operating point")
    axes.set(xlabel="false-positive rate", ylabel="sensitivity")
    axes.legend(loc="lower right", frameon=False)


def draw_precision_recall(axes: Axes, outcomes: Outcomes) -> None:
    """Draws precision over recall; the chance level is the share of abnormal images."""
    display = PrecisionRecallDisplay.from_predictions(
        outcomes.labels, outcomes.scores, ax=axes, plot_chance_level=True, chance_level_kw=_CHANCE
    )
    display.line_.set(color=ABNORMAL, label="detector")  # without its area, which has no interval here
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", ylim=(0, 1.02), xlim=(0, 1), aspect="auto")
    axes.legend(loc="lower left", frameon=False)


def draw_errors(axes: Axes, splits: Mapping[str, Outcomes], threshold: float) -> None:
    """Draws every score by split and class, with mean and standard deviation, to reveal outliers."""
    rng = np.random.default_rng(0)  # horizontal jitter of the points
    places: list[str] = []
    for split, outcomes in splits.items():
        for label, color, word in ((0, NORMAL, "normal"), (1, ABNORMAL, "abnormal")):
            scores = outcomes.scores[outcomes.labels == label]
            place = len(places)
            places.append(f"{split}\n{word}")
            axes.plot(place + rng.uniform(-0.3, 0.3, len(scores)), scores, ".", ms=3, color=color, alpha=0.6)
            if len(scores):
                axes.errorbar(place, scores.mean(), scores.std(), fmt="_", color=THRESHOLD, capsize=4, ms=14)
    axes.axhline(threshold, color=THRESHOLD, ls="--", lw=1, label=f"threshold {threshold:.4g}")
    axes.set_xticks(range(len(places)), places, fontsize=9)
    axes.set_ylabel("score (higher: more abnormal)")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def draw_reliability(axes: Axes, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draws the observed share of abnormal images over predicted probability, by split, with Wilson intervals."""
    axes.plot([0, 1], [0, 1], color="0.8", lw=1, label="perfectly calibrated")
    labels = {"val": "val, used for the fit", "test": "test"}
    for (split, table), color in zip(tables.items(), (NORMAL, ABNORMAL), strict=True):
        predicted = [row["mean_probability"] for row in table]
        observed = np.array([row["observed"]["value"] for row in table])
        # as floats, missing intervals (too few patients) become NaN and are not drawn
        ends = np.array([[row["observed"]["low"], row["observed"]["high"]] for row in table], np.float64)
        reach = np.abs(ends.reshape(-1, 2).T - observed)
        axes.errorbar(predicted, observed, reach, fmt="o-", ms=4, lw=1, capsize=2, color=color, label=labels[split])
    axes.set(xlabel="predicted probability of being abnormal", ylabel="share that is abnormal", aspect="equal")
    axes.legend(frameon=False)


def draw_decision_curve(axes: Axes, curve: Sequence[Mapping[str, Any]], prevalence: float) -> None:
    """Draws the net benefit of referral by the detector, of all and of none, at the prevalence of the split."""
    thresholds = [row["threshold"] for row in curve]
    model = np.array([row["model"]["value"] for row in curve])
    ends = np.array([[row["model"]["low"], row["model"]["high"]] for row in curve], np.float64).T
    axes.fill_between(thresholds, *ends, color=ABNORMAL, alpha=0.2, lw=0)
    axes.plot(thresholds, model, color=ABNORMAL, label="detector")
    axes.plot(thresholds, [row["treat_all"]["value"] for row in curve], color=NORMAL, lw=1, label="refer all")
    axes.axhline(0, color=THRESHOLD, lw=1, label="refer none")
    axes.set(
        xlabel="threshold probability",
        ylabel=f"net benefit per image, at {prevalence:.0%} abnormal",
        ylim=(-0.1, max(float(model.max()), 0.05) * 1.4),
        xlim=(0, 1),
    )
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")


def draw_shift(axes: Axes, p_values: Floats) -> None:
    """The cumulative distribution of the p-values of healthy images of test, and a 95 % band around a uniform one.

    Above the band, the images are less like the healthy images of `val` than the p-values assume. The band assumes
    independent images: Dvoretzky, Kiefer, Wolfowitz with Massart's constant (1990, doi 10.1214/aop/1176990746).
    """
    level = np.linspace(0, 1, 101)
    reach = float(np.sqrt(np.log(2 / 0.05) / (2 * max(len(p_values), 1))))
    axes.fill_between(level, level - reach, level + reach, color=NORMAL, alpha=0.18, lw=0, label="chance, 95 %")
    axes.plot([0, 1], [0, 1], color=NORMAL, lw=1, label="healthy images like those of val")
    if len(p_values):
        axes.ecdf(p_values, color=ABNORMAL, label=f"{len(p_values)} healthy images of test")
    axes.set(xlabel="conformal p-value", ylabel="share at or below", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
