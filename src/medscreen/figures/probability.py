"""Whether probabilities and p-values keep their word, and what acting on them is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from medscreen.figures.canvas import ABNORMAL, NORMAL, THRESHOLD


def draw_reliability(axes: Axes, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Observed share of abnormal images over stated probability, by split, with Wilson intervals."""
    axes.plot([0, 1], [0, 1], color="0.8", lw=1, label="as stated")
    for (split, table), colour in zip(tables.items(), (NORMAL, ABNORMAL), strict=True):
        stated = [row["mean_probability"] for row in table]
        observed = np.array([row["observed"]["value"] for row in table])
        ends = np.array([[row["observed"]["low"], row["observed"]["high"]] for row in table]).reshape(-1, 2).T
        axes.errorbar(
            stated, observed, np.abs(ends - observed), fmt="o-", ms=4, lw=1, capsize=2, color=colour, label=split
        )
    axes.set(xlabel="stated probability of being abnormal", ylabel="share that is abnormal", aspect="equal")
    axes.legend(frameon=False)


def draw_decision_curve(axes: Axes, curve: Sequence[Mapping[str, Any]], prevalence: float) -> None:
    """Net benefit of acting on the detector, on everyone and on no one, at the split's own share of abnormal images."""
    thresholds = [row["threshold"] for row in curve]
    model = np.array([row["model"]["value"] for row in curve])
    ends = np.array([[row["model"]["low"], row["model"]["high"]] for row in curve]).T
    axes.fill_between(thresholds, *ends, color=ABNORMAL, alpha=0.2, lw=0)
    axes.plot(thresholds, model, color=ABNORMAL, label="detector")
    axes.plot(thresholds, [row["treat_all"]["value"] for row in curve], color=NORMAL, lw=1, label="refer everyone")
    axes.axhline(0, color=THRESHOLD, lw=1, label="refer no one")
    axes.set(
        xlabel="probability from which one would act",
        ylabel=f"net benefit an image, at {prevalence:.0%} abnormal",
        ylim=(-0.1, max(float(model.max()), 0.05) * 1.4),
        xlim=(0, 1),
    )
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")


def draw_shift(axes: Axes, p_values: Mapping[str, Any]) -> None:
    """Share of healthy images with a p-value at most that: on the diagonal if they are like those of `val`."""
    axes.plot([0, 1], [0, 1], color="0.8", lw=1, label="promised: at most this")
    for (split, values), colour in zip(p_values.items(), (NORMAL, ABNORMAL), strict=True):
        ranked = np.sort(values)
        axes.step(
            np.concatenate([[0], ranked, [1]]),
            np.concatenate([[0], np.arange(1, len(ranked) + 1) / max(len(ranked), 1), [1]]),
            where="post",
            color=colour,
            label=f"healthy images of {split}",
        )
    axes.set(xlabel="conformal p-value", ylabel="share of healthy images at or below", aspect="equal")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
