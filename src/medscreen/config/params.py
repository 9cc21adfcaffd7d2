"""The validated content of params.yaml."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from medscreen.config.base import Block, Seed
from medscreen.config.compute import ComputeParams
from medscreen.config.datasets import CurationParams, DatasetParams
from medscreen.config.detectors.entry import DetectorName
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.operating import EvaluationParams, OperatingParams
from medscreen.config.promotion import PromotionParams
from medscreen.config.studies import StudyParams
from medscreen.config.validation_errors import first_problem
from medscreen.config.yaml_reader import read_yaml
from medscreen.errors import MedscreenError


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
            raise ValueError(f"dataset: {self.dataset!r} is not an entry of datasets: ({known})")
        if len({self.seed, *self.seeds}) <= len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} lists a seed twice, or {self.seed}, the value of seed")
        return self

    @model_validator(mode="after")
    def _searched_keys_exist(self) -> "Params":
        for name, study in self.studies.items():
            for part, searched in study.searched.items():
                entry = searched.entry or self.detectors.get(name)
                if entry and (problem := searched.problem(entry)):
                    raise ValueError(f"studies.{name}.searched.{part}.space: {problem}")
        return self

    def detector(self, name: str) -> DetectorParams:
        """The roster entry `name`; raises MedscreenError if there is none."""
        if name not in self.detectors:
            raise MedscreenError(
                f"params.yaml has no detector {name!r}; its detectors: block holds {', '.join(self.detectors)}."
            )
        return self.detectors[name]


def load_params(path: Path) -> Params:
    """The validated content of a params.yaml; raises MedscreenError with the first invalid key."""
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise MedscreenError(f"{path.name}: {first_problem(error, content, Params)}") from error
