"""params.yaml as one value, and what is wrong with it in one sentence."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from medscreen.errors import MedscreenError
from medscreen.params.block import Block, Seed
from medscreen.params.data import CurationParams, DatasetParams
from medscreen.params.detectors import (
    DetectorName,
    DetectorParams,
)
from medscreen.params.operating import (
    EvaluationParams,
    OperatingParams,
)
from medscreen.params.promotion import PromotionParams
from medscreen.params.studies import StudyParams


class ComputeParams(Block):
    """What a result's last bits depend on besides the seed."""

    threads: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]


class Params(Block):
    """All of params.yaml."""

    seed: Seed
    seeds: list[Seed]
    dataset: str
    datasets: dict[DetectorName, DatasetParams]
    curation: CurationParams
    compute: ComputeParams
    detectors: Annotated[dict[DetectorName, DetectorParams], Field(min_length=1)]
    operating: OperatingParams
    evaluation: EvaluationParams
    promotion: PromotionParams
    studies: dict[DetectorName, StudyParams]

    @model_validator(mode="after")
    def _active_entries_exist(self) -> "Params":
        if self.dataset not in self.datasets:
            known = ", ".join(self.datasets)
            raise ValueError(f"dataset: {self.dataset!r} is no entry of datasets: ({known})")
        if len({self.seed, *self.seeds}) <= len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} names a seed twice, or {self.seed}, which seed: names already")
        return self

    @model_validator(mode="after")
    def _studies_vary_what_is_there(self) -> "Params":
        for name, study in self.studies.items():
            for part, searched in study.searched.items():
                entry = searched.entry or self.detectors.get(name)
                if entry and (problem := searched.problem(entry)):
                    raise ValueError(f"studies.{name}.searched.{part}.space: {problem}")
        return self

    def detector(self, name: str) -> DetectorParams:
        """The roster's entry `name`; raises MedscreenError if there is none."""
        if name not in self.detectors:
            raise MedscreenError(
                f"params.yaml has no detector {name!r}; its detectors: block holds {', '.join(self.detectors)}."
            )
        return self.detectors[name]


def load_params(path: Path) -> Params:
    """The validated content of a params.yaml; raises MedscreenError that names the first wrong key."""
    try:
        content: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        raise MedscreenError(f"{path.name} can't be read ({error.strerror}): restore it with git.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedscreenError(f"{path.name} is no valid YAML: {' '.join(str(error).split())}.") from error
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise MedscreenError(f"{path.name}: {_first_problem(error, content)}") from error


def _key(location: Sequence[str | int], content: Any) -> str:
    """The dotted key of an error's path: without what pydantic puts between the keys, a union's chosen member."""
    keys: list[str] = []
    at = content
    for part in location:
        inside = dict(enumerate(at)) if isinstance(at, list) else at
        if isinstance(inside, dict) and part in inside:
            keys.append(str(part))
            at = inside[part]
    return ".".join(keys)


def _choices(location: Sequence[str | int], chooser: str, content: Any) -> str:
    """What `chooser` may say: pydantic tells it of a wrong answer, not of a missing one."""
    block = content
    for part in location:
        block = block[part] if isinstance(block, dict) and part in block else block
    block[chooser] = ""
    try:
        Params.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        return next((str(p["ctx"]["expected_tags"]) for p in problems if p["loc"] == location), "")
    return ""


def _first_problem(error: ValidationError, content: Any) -> str:
    problem = error.errors(include_url=False)[0]
    key = _key(problem["loc"], content)
    match problem["type"]:
        case "extra_forbidden":
            return f"{key} is no known key; remove it or correct its spelling."
        case "missing":
            missing = f"{key}.{problem['loc'][-1]}".removeprefix(".")
            return f"{missing} is missing; every key of the file is needed."
        case "union_tag_invalid" | "union_tag_not_found":
            chooser = problem["ctx"]["discriminator"].strip("'")
            choices = problem["ctx"].get("expected_tags") or _choices(problem["loc"], chooser, content)
            said = repr(problem["ctx"]["tag"]) if "tag" in problem["ctx"] else "missing"
            return f"{key}.{chooser} is {said}; it has to be {choices}."
        case "string_type" if isinstance(problem["input"], bool | int | float):
            return (
                f"{key} is {problem['input']!r} to YAML where text is wanted; put what you mean in quotes, as in 'no', "
                "'on' or '0'."
            )
        case "value_error":
            return f"{problem['msg'].removeprefix('Value error, ')}; correct {key or 'it'}."
        case _:
            return f"{key or 'its content'} = {shorten(repr(problem['input']), 80)} is not valid: {problem['msg']}."
