"""params.yaml as frozen, typed values; defaults live in that file and nowhere else."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, ValidationError, model_validator

from medscreen.errors import MedscreenError


class _Block(BaseModel):
    """A block of params.yaml: every key is required, none is unknown, nothing changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(gt=0, le=1)]


class PhantomParams(_Block):
    """Simulated chest films as DICOM below `root`; copies and the like are numbers, as far as there are films for."""

    kind: Literal["phantom"]
    root: str
    image_size: Annotated[int, Field(ge=16, le=2048)]
    patients: Annotated[int, Field(ge=40)]
    abnormal_fraction: Fraction
    contrast: Annotated[float, Field(gt=0)]
    exact_copies: Annotated[int, Field(ge=0)]
    near_copies: Annotated[int, Field(ge=0)]
    respelled_patients: Annotated[int, Field(ge=0)]
    unreadable_files: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class MedMnistParams(_Block):
    """A MedMNIST .npz file in the folder `root`, downloaded there by medmnist if it is missing."""

    kind: Literal["medmnist"]
    root: str
    image_size: Annotated[int, Field(ge=16, le=2048)]
    flag: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    normal_labels: Annotated[list[int], Field(min_length=1)]


class FoldersParams(_Block):
    """Image files in class folders below `root`, with published splits above the classes or without."""

    kind: Literal["folders"]
    root: str
    image_size: Annotated[int, Field(ge=16, le=2048)]
    normal_classes: Annotated[list[str], Field(min_length=1)]


DatasetParams = Annotated[PhantomParams | MedMnistParams | FoldersParams, Discriminator("kind")]


class CurationParams(_Block):
    """How records become splits; the fractions are of patients and concern data without published splits."""

    tune_fraction: Fraction
    val_fraction: Fraction
    test_fraction: Fraction

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "CurationParams":
        if self.tune_fraction + self.val_fraction + self.test_fraction >= 0.9:
            raise ValueError("tune, val and test fractions together must stay below 0.9")
        return self


class TrainingParams(_Block):
    """One optimiser loop for every network: AdamW, one-cycle learning rate, best epoch on `tune` kept."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=1)]


class GradientParams(_Block):
    """The one-line baseline: distance of an image's mean gradient from the healthy median."""

    kind: Literal["gradient"]
    is_baseline: ClassVar[bool] = True


class AutoencoderParams(_Block):
    """A convolutional autoencoder trained on healthy images, scored by the `top` share of its local residuals."""

    kind: Literal["autoencoder"]
    width: Annotated[int, Field(ge=1)]
    bottleneck: Annotated[int, Field(ge=1)]
    top: Annotated[float, Field(gt=0, le=1)]
    training: TrainingParams
    is_baseline: ClassVar[bool] = False


def _different_findings(names: list[str]) -> list[str]:
    if len({*names, "normal"}) <= len(names):
        raise ValueError(f"{names} names a finding twice, or normal, which is always one")
    return names


class CnnParams(_Block):
    """A small residual network trained on both classes; with `findings`, on normal and each of them."""

    kind: Literal["cnn"]
    findings: Annotated[list[Annotated[str, Field(pattern=r"^\S(.*\S)?$")]], AfterValidator(_different_findings)]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
    training: TrainingParams
    is_baseline: ClassVar[bool] = False


DetectorParams = Annotated[GradientParams | AutoencoderParams | CnnParams, Discriminator("kind")]
DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class ComputeParams(_Block):
    """What a result's last bits depend on besides the seed."""

    threads: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]


class MeanSdPolicy(_Block):
    """Threshold = mean + `sd` standard deviations of the healthy scores of `val`."""

    policy: Literal["mean_sd"]
    sd: float


class HealthyQuantilePolicy(_Block):
    """Threshold = that quantile of the healthy scores of `val`."""

    policy: Literal["healthy_quantile"]
    quantile: Fraction


class BestAccuracyPolicy(_Block):
    """Threshold of least error on `val`."""

    policy: Literal["best_accuracy"]


class YoudenPolicy(_Block):
    """Threshold of greatest sensitivity + specificity on `val`."""

    policy: Literal["youden"]


class F1Policy(_Block):
    """Threshold of greatest F1 on `val`."""

    policy: Literal["f1"]


class SensitivityPolicy(_Block):
    """The highest threshold that finds at least that share of the abnormal images of `val`."""

    policy: Literal["sensitivity"]
    at_least: Share


class SpecificityPolicy(_Block):
    """The lowest threshold that calls at least that share of the normal images of `val` normal."""

    policy: Literal["specificity"]
    at_least: Share


class CostPolicy(_Block):
    """Threshold of least expected cost an image, at a stated prevalence; costs in any one unit."""

    policy: Literal["cost"]
    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]
    prevalence: Fraction


Policy = Annotated[
    MeanSdPolicy
    | HealthyQuantilePolicy
    | BestAccuracyPolicy
    | YoudenPolicy
    | F1Policy
    | SensitivityPolicy
    | SpecificityPolicy
    | CostPolicy,
    Discriminator("policy"),
]
CalibrationName = Literal["platt", "isotonic", "temperature"]


class ReferParams(_Block):
    """The refer band: what lies between the thresholds of this sensitivity and of this specificity on `val`."""

    sensitivity: Share
    specificity: Share


class OperatingParams(_Block):
    """How scores are read; all of it is learned on `val`."""

    threshold: Policy
    calibration: CalibrationName
    refer: ReferParams


class EvaluationParams(_Block):
    """Bootstrap over patients; the prevalence that PPV and NPV are stated for; the policies of the bench."""

    resamples: Annotated[int, Field(ge=100)]
    confidence: Fraction
    prevalence: Fraction
    bench: list[Policy]


class PromotionParams(_Block):
    """What a detector must show on `val` to reach Production."""

    metric: Literal["auroc", "average_precision", "balanced_accuracy"]
    margin_over_baseline: Annotated[float, Field(ge=0, lt=1)]


class Params(_Block):
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

    @model_validator(mode="after")
    def _active_entries_exist(self) -> "Params":
        if self.dataset not in self.datasets:
            known = ", ".join(self.datasets)
            raise ValueError(f"dataset: {self.dataset!r} is no entry of datasets: ({known})")
        if len({self.seed, *self.seeds}) <= len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} names a seed twice, or {self.seed}, which seed: names already")
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
        raise MedscreenError(f"{path.name}: {_first_problem(error)}") from error


# Where pydantic puts the chosen member of a union into an error's path: not a key of the file.
_UNIONS = {("datasets",): 2, ("detectors",): 2, ("operating", "threshold"): 2, ("evaluation", "bench"): 3}


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"]]
    depths = (depth for start, depth in _UNIONS.items() if tuple(location[: len(start)]) == start)
    depth = next(depths, len(location))
    key = ".".join(location[:depth] + location[depth + 1 :])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key} is no known key; remove it or correct its spelling."
        case "missing":
            return f"{key} is missing; every key of the file is needed."
        case "union_tag_invalid" | "union_tag_not_found":
            chooser = problem["ctx"]["discriminator"].strip("'")
            choices = problem["ctx"].get("expected_tags", "one of those in params.yaml's comments")
            return f"{key}.{chooser} is {problem['ctx'].get('tag', 'missing')!r}; it has to be {choices}."
        case "value_error":
            return f"{problem['msg'].removeprefix('Value error, ')}; correct {key or 'it'}."
        case _:
            return f"{key or 'its content'} = {problem['input']!r} is not valid: {problem['msg']}."
