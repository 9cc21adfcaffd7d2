"""params.yaml as one value, and what is wrong with it in one sentence."""

from pathlib import Path
from typing import Annotated, Literal

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
from medscreen.params.problems import first_problem
from medscreen.params.promotion import PromotionParams
from medscreen.params.studies import StudyParams
from medscreen.params.yaml_text import read_yaml


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
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise MedscreenError(f"{path.name}: {first_problem(error, content, Params)}") from error
