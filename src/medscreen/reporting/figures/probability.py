"""Whether probabilities and p-values keep their word, and what acting on them is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from medscreen.evaluation.outcomes import Floats
from medscreen.reporting.figures.canvas import ABNORMAL, NORMAL, THRESHOLD

_SPLITS = {"val": "val, where it was fitted", "test": "test"}


def draw_reliability(axes: Axes, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Observed share of abnormal images over stated probability, by split, with Wilson intervals."""
    axes.plot([0, 1], [0, 1], color="0.8", lw=1, label="as stated")
    for (split, table), colour in zip(tables.items(), (NORMAL, ABNORMAL), strict=True):
        stated = [row["mean_probability"] for row in table]
        observed = np.array([row["observed"]["value"] for row in table])
        # floats: an interval that is missing, for want of patients, is not a number and is not drawn
        ends = np.array([[row["observed"]["low"], row["observed"]["high"]] for row in table], np.float64)
        axes.errorbar(
            stated,
            observed,
            np.abs(ends.reshape(-1, 2).T - observed),
            fmt="o-",
            ms=4,
            lw=1,
            capsize=2,
            color=colour,
            label=_SPLITS[split],
        )
    axes.set(xlabel="stated probability of being abnormal", ylabel="share that is abnormal", aspect="equal")
    axes.legend(frameon=False)


def draw_decision_curve(axes: Axes, curve: Sequence[Mapping[str, Any]], prevalence: float) -> None:
    """Net benefit of acting on the detector, on everyone and on no one, at the split's own share of abnormal images."""
    thresholds = [row["threshold"] for row in curve]
    model = np.array([row["model"]["value"] for row in curve])
    ends = np.array([[row["model"]["low"], row["model"]["high"]] for row in curve], np.float64).T
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


def draw_shift(axes: Axes, p_values: Floats) -> None:
    """Share of the healthy images of test with a p-value at most that, and where 95 % of such shares would lie.

    Above the band they are less like the healthy images of `val` than the p-values promise. The band takes images as
    independent: Dvoretzky, Kiefer, Wolfowitz with Massart's constant (1990, doi 10.1214/aop/1176990746).
    """
    level = np.linspace(0, 1, 101)
    reach = float(np.sqrt(np.log(2 / 0.05) / (2 * max(len(p_values), 1))))
    axes.fill_between(level, level - reach, level + reach, color=NORMAL, alpha=0.18, lw=0, label="chance, 95 %")
    axes.plot([0, 1], [0, 1], color=NORMAL, lw=1, label="healthy images like those of val")
    ranked = np.sort(p_values)
    shares = np.arange(1, len(ranked) + 1) / max(len(ranked), 1)
    axes.step(
        np.concatenate([[0], ranked, [1]]), np.concatenate([[0], shares, [1]]), where="post", color=ABNORMAL,
        label=f"{len(ranked)} healthy images of test",
    )  # fmt: skip
    axes.set(xlabel="conformal p-value", ylabel="share at or below", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
