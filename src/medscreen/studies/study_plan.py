"""The plan of a study: its data, its space, its name."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import Params
from medscreen.config.studies import StudyParams
from medscreen.data.images import load_images, set_digest
from medscreen.errors import MedscreenError
from medscreen.studies.search_space import Searched
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout


@dataclass(frozen=True)
class Plan:
    """A study before it is begun.

    `name`: detector, data set, and 8 characters each for the images of train and tune and for what is searched: what is
    not comparable is another study. `own`: the roster's entry, None if it has none of that name.
    """

    detector: str
    dataset: str
    name: str
    params: StudyParams
    searched: Searched
    own: DetectorParams | None
    seed: int
    data: dict[str, str]

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Optuna's, of AUROC and, where it is sought as well, of milliseconds."""
        return ["maximize"] if self.params.objective == "auroc" else ["maximize", "minimize"]

    def about(self) -> dict[str, Any]:
        """Identity of the study: the parameters of the parent run in MLflow."""
        return {
            "detector": self.detector,
            "dataset": self.dataset,
            "seed": self.seed,
            **{f"data.{split}": digest for split, digest in self.data.items()},
            **self.params.model_dump(include={"epochs", "objective"}),
            **{
                f"space.{part}": json.dumps(searched.model_dump()["space"])
                for part, searched in self.params.searched.items()
            },
        }

    def strategy(self) -> dict[str, Any]:
        """Search strategy as tags of the parent run, which may change in the same study."""
        return self.params.model_dump(include={"sampler", "pruner", "confirm"})


def plan_study(layout: Layout, params: Params, detector: str) -> Plan:
    """The study of that name in params.yaml, on the curated images.

    Raises MedscreenError where there is no such study, nothing to start from, or no curated image.
    """
    if detector not in params.studies:
        known = ", ".join(params.studies) or "nothing"
        raise MedscreenError(f"params.yaml has no study {detector!r}; its studies: block holds {known}.")
    study, own = params.studies[detector], params.detectors.get(detector)
    without = [part for part, searched in study.searched.items() if searched.entry is None and own is None]
    if without:
        raise MedscreenError(
            f"studies.{detector}.searched.{without[0]}.entry in params.yaml is null, and detectors: has no {detector} "
            "to start from; write an entry there, or add the detector to the roster."
        )
    dataset = _curated_dataset(layout)
    if dataset != params.dataset:
        raise MedscreenError(
            f"The curated images are of {dataset}, params.yaml has {params.dataset}; run `dvc repro curate` first."
        )
    images = {split: load_images(layout.curated(split)) for split in ("train", "tune")}
    if len(set(images["tune"].labels.tolist())) < 2:
        raise MedscreenError("tune holds images of one class alone, on which AUROC is not defined; curate it anew.")
    data = {split: set_digest(of) for split, of in images.items()}
    searched = Searched(study.searched, own)
    space = {
        "searched": searched.fixed(study.epochs),
        "epochs": study.epochs,
        "objective": study.objective,
        "seed": params.seed,
    }
    name = f"{detector}-{dataset}-{_short(data)}-{_short(space)}"
    return Plan(detector, dataset, name, study, searched, own, params.seed, data)


def _curated_dataset(layout: Layout) -> str:
    try:
        return str(json.loads(layout.raw.read_text())["dataset"])
    except FileNotFoundError as error:
        raise MedscreenError(f"{layout.raw} is missing; run `dvc repro curate` first.") from error


def share_of_cores(compute: ComputeParams, workers: int, cores: int) -> ComputeParams:
    """The settings of one of so many workers; raises MedscreenError for more workers than cores."""
    if workers > cores:
        raise MedscreenError(
            f"--workers {workers} is more than the {cores} cores of this machine; ask for {cores} at most."
        )
    return compute.model_copy(update={"threads": min(compute.threads, cores // workers)})


def _short(content: Any) -> str:
    return digest_of(json.dumps(content, sort_keys=True))[:8]
