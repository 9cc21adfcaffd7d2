"""Axes for parameters: where a value lies, which ticks it has, what it is called."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

VALUES = ("tune AUROC", "ms an image")  # what a study's first and second value are
_LONGEST_NAME = 22
_LONGEST_CHOICE, _LINE = 44, 18
_SMALL = 7


@dataclass(frozen=True)
class Scale:
    """The axis of a parameter over all that could be searched; `choices` are empty for numbers."""

    name: str
    choices: tuple[str, ...]
    log: bool
    whole: bool
    low: float
    high: float

    def place(self, value: Any) -> float:
        """Where it lies on a drawn axis: choices stand at 0, 1, 2..."""
        return float(self.choices.index(str(value))) if self.choices else float(value)

    def share(self, value: Any) -> float:
        """Where it lies between the ends, from 0 to 1."""
        place = self.place(value)
        low, high = self.low, self.high
        if self.log:
            place, low, high = math.log(place), math.log(low), math.log(high)
        return (place - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[float]:
        """A few round values, or every choice."""
        if self.choices:
            return [float(i) for i in range(len(self.choices))]
        if self.high <= self.low:
            return [self.low]
        if self.log and self.high / self.low >= 100:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1, math.ceil((last - first) / 4) or 1)]
        if self.log:
            some = (self.low * (self.high / self.low) ** (i / 3) for i in range(4))
            ticks = [float(round(tick)) if self.whole else float(f"{tick:.2g}") for tick in some]
        else:
            ticks = [float(tick) for tick in MaxNLocator(3, integer=self.whole).tick_values(self.low, self.high)]
        return sorted({tick for tick in ticks if self.low <= tick <= self.high})

    def labels(self) -> list[str]:
        """What stands at the ticks."""
        if self.choices:
            return [fill(shortened(choice, _LONGEST_CHOICE), _LINE) for choice in self.choices]
        return [number(tick) for tick in self.ticks()]

    def dress(self, axes: Axes, which: Literal["x", "y"]) -> None:
        """Makes one axis of `axes` this scale, with its name."""
        axis = axes.xaxis if which == "x" else axes.yaxis
        (axes.set_xlabel if which == "x" else axes.set_ylabel)(broken(self.name), fontsize=_SMALL + 1)
        if self.log:
            (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_ticks(self.ticks(), self.labels(), fontsize=_SMALL)
        axis.set_minor_locator(NullLocator())
        labels = self.labels()
        if which == "x" and self.choices and sum(map(len, labels)) > _LINE:
            for text in axis.get_ticklabels():
                text.set(rotation=35, ha="right", rotation_mode="anchor")
        if self.choices:
            (axes.set_xlim if which == "x" else axes.set_ylim)(-0.5, len(self.choices) - 0.5)


def scale_of(name: str, trials: Sequence[FrozenTrial]) -> Scale:
    """From the distributions of the trials that have the parameter: the widest of them."""
    found = [trial.distributions[name] for trial in trials if name in trial.distributions]
    ranges = [kind for kind in found if isinstance(kind, FloatDistribution | IntDistribution)]
    if len(ranges) < len(found):
        lists = [kind.choices if isinstance(kind, CategoricalDistribution) else () for kind in found]
        choices = dict.fromkeys(str(choice) for some in lists for choice in some)
        choices |= dict.fromkeys(str(trial.params[name]) for trial in trials if name in trial.params)
        return Scale(name, tuple(choices), False, True, 0.0, float(len(choices) - 1))
    low, high = min(float(kind.low) for kind in ranges), max(float(kind.high) for kind in ranges)
    whole = all(isinstance(kind, IntDistribution) for kind in ranges)
    return Scale(name, (), any(kind.log for kind in ranges) and low > 0, whole, low, high)


def varying(trials: Sequence[FrozenTrial]) -> list[str]:
    """Parameters of which these trials have more than one value, as the first trial with each orders them."""
    values: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(str(value))
    return [name for name, some in values.items() if len(some) > 1]


def floor_of(aurocs: Sequence[float]) -> float:
    """Where an axis of AUROC begins: what lies below is drawn on its edge, else a few failures would squeeze the rest.

    Half as far again below the worst quarter as that lies below the best.
    """
    quarter = float(np.quantile(aurocs, 0.25))
    return max(min(aurocs), quarter - 1.5 * (max(aurocs) - quarter))


def axis_name(floor: float, aurocs: Sequence[float]) -> str:
    """What such an axis is called, with how many of the values lie on its edge."""
    below = sum(auroc < floor for auroc in aurocs)
    return f"{VALUES[0]} ({below} below {floor:.2f}: on the edge)" if below else VALUES[0]


def broken(name: str) -> str:
    """A dotted name on two lines if it is long."""
    head, dot, last = name.rpartition(".")
    return f"{head}.\n{last}" if dot and len(name) > _LONGEST_NAME else name


def shortened(text: str, longest: int) -> str:
    """Its beginning and end: names of alternatives often differ in one of the two alone."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def number(value: float) -> str:
    """As few characters as tell it: three significant digits."""
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")
