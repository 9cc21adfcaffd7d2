"""Plan of a study: data, search space and name."""

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
    """Everything that defines a study.

    `name`: detector, data set, and 8 characters each of the digests of train and tune and of the search space, so that
    trials in one study are comparable. `own`: the roster's entry of that name, None without one.
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
        """Optuna's directions for AUROC and, if searched, for milliseconds an image."""
        return ["maximize"] if self.params.objective == "auroc" else ["maximize", "minimize"]

    def about(self) -> dict[str, Any]:
        """Definition of the study: parameters of the parent run in MLflow."""
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
        """Search strategy: tags of the parent run, which may change within a study."""
        return self.params.model_dump(include={"sampler", "pruner", "confirm"})


def plan_study(layout: Layout, params: Params, detector: str) -> Plan:
    """The study of a detector in params.yaml, on the curated images.

    Raises MedscreenError if the study, its entry or the curated images are missing, or tune has only one class.
    """
    if detector not in params.studies:
        known = ", ".join(params.studies) or "none"
        raise MedscreenError(f"params.yaml: no study {detector!r}; studies: {known}.")
    study, own = params.studies[detector], params.detectors.get(detector)
    without = [part for part, searched in study.searched.items() if searched.entry is None and own is None]
    if without:
        raise MedscreenError(
            f"studies.{detector}.searched.{without[0]}.entry in params.yaml is null, and detectors: has no {detector}. "
            "Write an entry there, or add the detector to the roster."
        )
    dataset = _curated_dataset(layout)
    if dataset != params.dataset:
        raise MedscreenError(
            f"The curated images are of {dataset}, params.yaml has {params.dataset}; run `dvc repro curate` first."
        )
    images = {split: load_images(layout.curated(split)) for split in ("train", "tune")}
    if len(set(images["tune"].labels.tolist())) < 2:
        raise MedscreenError("tune has images of only one class, so AUROC is undefined. Curate the data again.")
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
    """The compute settings of one of `workers` workers; raises MedscreenError for more workers than cores."""
    if workers > cores:
        raise MedscreenError(f"--workers {workers}: this machine has {cores} cores. Use {cores} at most.")
    return compute.model_copy(update={"threads": min(compute.threads, cores // workers)})


def _short(content: Any) -> str:
    return digest_of(json.dumps(content, sort_keys=True))[:8]
