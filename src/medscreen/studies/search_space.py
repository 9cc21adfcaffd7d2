"""The search space: converts dimensions in params.yaml to Optuna's parameters, and these to an entry."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from optuna.trial import Trial
from pydantic import ValidationError

from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.studies import (
    ChoicesParams,
    DimensionParams,
    RangeParams,
    SearchedParams,
    StepsParams,
    entry_with,
    value_at,
)

PART = "entry"
"""Name of Optuna's categorical parameter that selects one of several entries."""


@dataclass(frozen=True)
class Searched:
    """Searched entries by name, each with its space; `own`: the roster's entry, which replaces an entry of None."""

    parts: Mapping[str, SearchedParams]
    own: DetectorParams | None

    def start(self, part: str) -> DetectorParams:
        """The entry whose settings a part varies; raises KeyError if neither part nor roster has one."""
        entry = self.parts[part].entry or self.own
        if entry is None:
            raise KeyError(part)
        return entry

    def suggest(self, trial: Trial) -> None:
        """Suggests the parameters of a trial."""
        part = next(iter(self.parts))
        if len(self.parts) > 1:
            part = str(trial.suggest_categorical(PART, list(self.parts)))
        for key, dimension in self.parts[part].space.items():
            _suggest(trial, self._name(part, key), dimension)

    def values(self, chosen: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Part, and dotted key -> value, for Optuna's parameters."""
        part = str(chosen.get(PART, next(iter(self.parts))))
        space = self.parts[part].space
        named = {key: self._name(part, key) for key in space}
        return part, {key: _value(space[key], chosen[name]) for key, name in named.items() if name in chosen}

    def entry(self, chosen: Mapping[str, Any]) -> DetectorParams:
        """The entry for Optuna's parameters; raises pydantic's ValidationError if it is invalid."""
        part, values = self.values(chosen)
        return entry_with(self.start(part), values)

    def hand_set(self) -> dict[str, Any]:
        """Optuna's parameters for the roster's entry, as far as its values lie in the space."""
        for part, searched in self.parts.items():
            if searched.entry is None and self.own is not None:
                own = {PART: part} if len(self.parts) > 1 else {}
                for key, dimension in searched.space.items():
                    own |= _optuna_value(self._name(part, key), dimension, value_at(self.own, key))
                return own
        return {}

    def fixed(self, epochs: int | None) -> dict[str, Any]:
        """Part -> fixed settings and space, on which a trial's value depends."""
        about = {}
        for part, searched in self.parts.items():
            entry = self.start(part).within(epochs) if epochs else self.start(part)
            # searched keys get a fixed value here, since --apply may write the winner's
            first = {key: dimension.extremes[0] for key, dimension in searched.space.items()}
            with suppress(ValidationError, KeyError):  # if these values are invalid in combination
                entry = entry_with(entry, first)
            about[part] = {
                "entry": entry.model_dump(),
                "space": {key: dimension.model_dump() for key, dimension in searched.space.items()},
            }
        return about

    def _name(self, part: str, key: str) -> str:
        return f"{part}/{key}" if len(self.parts) > 1 else key


def _suggest(trial: Trial, name: str, dimension: DimensionParams) -> None:
    match dimension:
        case ChoicesParams():
            trial.suggest_categorical(name, list(dimension.named))
        case RangeParams():
            trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        case StepsParams(low=int() as low, high=int() as high, step=int() as step):
            trial.suggest_int(name, low, high, step=step)
        case StepsParams():
            trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step)


def _value(dimension: DimensionParams, chosen: Any) -> Any:
    """Converts Optuna's value to the entry's."""
    return dimension.named[chosen] if isinstance(dimension, ChoicesParams) else chosen


def _optuna_value(name: str, dimension: DimensionParams, value: Any) -> dict[str, Any]:
    """Optuna's parameter `name` with the entry's value; empty if the value lies outside the dimension."""
    if isinstance(dimension, ChoicesParams):
        choices = dimension.named.items()
        return next(({name: choice} for choice, at in choices if at == value and type(at) is type(value)), {})
    if not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return {}
    if isinstance(dimension, StepsParams):
        steps = (value - dimension.low) / dimension.step
        return {name: value} if abs(steps - round(steps)) < 1e-9 else {}
    return {name: value}
