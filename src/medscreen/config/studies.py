"""Settings of studies: the roster entry that each starts from, and its search space."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator

from medscreen.config.base import Block, Seed
from medscreen.config.detectors.entry import DetectorName
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.former_names import current_param, with_current_keys
from medscreen.config.validation_errors import reason

_ENTRY: TypeAdapter[DetectorParams] = TypeAdapter(DetectorParams)
Scalar = str | int | float | bool | None


class StepsParams(Block):
    """The numbers low, low + step, ..., high; integers if all three are."""

    low: int | float
    high: int | float
    step: Annotated[int | float, Field(gt=0)]

    @property
    def extremes(self) -> list[Any]:
        """The lowest and the highest value."""
        return [self.low, self.high]

    @model_validator(mode="after")
    def _reaches_high(self) -> "StepsParams":
        steps = (self.high - self.low) / self.step
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"from {self.low} to {self.high} is not a whole number of steps of {self.step}")
        return self


class RangeParams(Block):
    """A number between low and high, uniform or, with `log`, log-uniform."""

    low: float
    high: float
    log: bool

    @property
    def extremes(self) -> list[Any]:
        """Low and high."""
        return [self.low, self.high]

    @model_validator(mode="after")
    def _is_a_range(self) -> "RangeParams":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low: {self.low} has to be below high: {self.high}, and above 0 where log is true")
        return self


class ChoicesParams(Block):
    """One of several values; values that are blocks or lists have names."""

    choices: Annotated[list[Scalar], Field(min_length=2)] | Annotated[dict[str, Any], Field(min_length=2)]

    @property
    def extremes(self) -> list[Any]:
        """All values."""
        return list(self.named.values())

    @model_validator(mode="after")
    def _are_different(self) -> "ChoicesParams":
        if len(self.named) < len(self.choices):
            raise ValueError(f"choices: {self.choices} lists a value twice")
        return self

    @property
    def named(self) -> Mapping[Scalar, Any]:
        """Value in Optuna -> value in the entry."""
        pairs = self.choices.items() if isinstance(self.choices, dict) else zip(self.choices, self.choices, strict=True)
        return dict(pairs)


_FORMS = {"choices": "choices", "step": "steps", "log": "range"}  # key that only one form has -> form


def _form(value: Any) -> str | None:
    keys = value if isinstance(value, Mapping) else vars(value) if isinstance(value, Block) else {}
    return next((form for key, form in _FORMS.items() if key in keys), None)


DimensionParams = Annotated[
    Annotated[StepsParams, Tag("steps")]
    | Annotated[RangeParams, Tag("range")]
    | Annotated[ChoicesParams, Tag("choices")],
    Discriminator(
        _form,
        custom_error_type="dimension",
        custom_error_message="it needs low, high and step, or low, high and log, or choices",
    ),
]


class SearchedParams(Block):
    """Settings that a study varies. `entry`: where it starts; null: the roster entry. `space`: dotted key -> values."""

    entry: DetectorParams | None
    space: dict[str, DimensionParams]

    @model_validator(mode="after")
    def _varies_something(self) -> "SearchedParams":
        if not self.space:
            raise ValueError("space: is empty; name at least one key of the entry and its values")
        for key in self.space:
            whole = next((other for other in self.space if key.startswith(f"{other}.")), None)
            if whole:
                raise ValueError(f"space: {key!r} lies inside {whole!r}, which is varied as a whole; leave one out")
        return self

    def problem(self, entry: DetectorParams) -> str | None:
        """Error message for the first value that the entry does not accept, each tried alone; None without one."""
        for key, dimension in self.space.items():
            if (current := current_param(key)) != key and has_key(entry, current):
                return f"{key!r} is now named {current!r}; rename the key"
            if not has_key(entry, key) or key == "kind":
                return f"{key!r} is not a key of a detector of kind {entry.kind} that can be varied"
            for value in dimension.extremes:
                if (renamed := with_current_keys(value, key)) != value:
                    return f"{key!r}: {value!r} is now named {renamed!r}; rename it"
                try:
                    entry_with(entry, {key: value})
                except ValidationError as error:
                    # a conflict with another key can disappear with other values of that key
                    problems = error.errors(include_url=False)
                    if problems[0]["type"] != "value_error":
                        return f"{key!r} can't be {value!r}: {reason(problems[:1])}"
        return None


class MedianPrunerParams(Block):
    """Prunes a trial that is below the median of former trials at the same epoch."""

    kind: Literal["median"]
    startup_trials: Annotated[int, Field(ge=0)]
    warmup_epochs: Annotated[int, Field(ge=0)]


class HyperbandPrunerParams(Block):
    """Optuna's Hyperband: successive halving in brackets; keeps one of `reduction` trials at each step."""

    kind: Literal["hyperband"]
    least_epochs: Annotated[int, Field(ge=1)]
    reduction: Annotated[int, Field(ge=2)]


class WilcoxonPrunerParams(Block):
    """Prunes a trial whose epochs are worse than the best trial's by a signed-rank test at `level`.

    Epochs of a training are not independent, so `level` is not an error rate.
    """

    kind: Literal["wilcoxon"]
    level: Annotated[float, Field(gt=0, lt=1)]
    warmup_epochs: Annotated[int, Field(ge=0)]


class NoPrunerParams(Block):
    """Prunes no trial."""

    kind: Literal["none"]


PrunerParams = Annotated[
    MedianPrunerParams | HyperbandPrunerParams | WilcoxonPrunerParams | NoPrunerParams, Discriminator("kind")
]


class ConfirmParams(Block):
    """Choice of the winner: the `best` trials are trained again, in full, with each of `seeds`."""

    best: Annotated[int, Field(ge=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]

    @model_validator(mode="after")
    def _seeds_differ(self) -> "ConfirmParams":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} lists a seed twice")
        return self


class StudyParams(Block):
    """A hyperparameter search for one entry of the roster.

    `epochs`: number of epochs of a trial; null: that of the entry. `objective`: AUROC on tune, or AUROC and
    milliseconds per image (multi-objective, without pruner).
    """

    trials: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)] | None
    objective: Literal["auroc", "auroc_and_ms"]
    sampler: Literal["tpe", "gp", "random"]
    pruner: PrunerParams
    confirm: ConfirmParams
    searched: Annotated[dict[DetectorName, SearchedParams], Field(min_length=1)]

    @model_validator(mode="after")
    def _prunes_by_one_figure(self) -> "StudyParams":
        if self.objective == "auroc_and_ms" and self.pruner.kind != "none":
            raise ValueError("objective: auroc_and_ms cannot be pruned; set pruner: {kind: none}")
        return self


def entry_with(entry: DetectorParams, values: Mapping[str, Any]) -> DetectorParams:
    """A copy of the entry with new values at these dotted keys; a number in a key is a list index.

    Raises KeyError for a key that the entry does not have, pydantic's ValidationError for invalid values.
    """
    content = entry.model_dump()
    for key, value in values.items():
        _found(content, key)
        above, _, last = key.rpartition(".")
        block: Any = _found(content, above) if above else content
        block[int(last) if isinstance(block, list) else last] = value
    return _ENTRY.validate_python(content)


def value_at(entry: DetectorParams, key: str) -> Any:
    """The entry's value at a dotted key; raises KeyError if it has none."""
    return _found(entry.model_dump(), key)


def has_key(entry: DetectorParams, key: str) -> bool:
    """True if the entry has a dotted key."""
    try:
        value_at(entry, key)
    except KeyError:
        return False
    return True


def _found(content: Any, key: str) -> Any:
    try:
        for part in key.split("."):
            content = content[int(part) if isinstance(content, list) else part]
    except (KeyError, IndexError, ValueError, TypeError):
        raise KeyError(key) from None
    return content
