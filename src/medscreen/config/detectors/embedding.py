"""Detectors that classify an image by its embedding."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from medscreen.config.base import Block
from medscreen.config.detectors.backbone import BackboneParams, Depths
from medscreen.config.detectors.entry import DetectorEntry, TrainingParams
from medscreen.config.detectors.findings import Findings

_OWN_STAGES = 3


class PublicBackboneParams(BackboneParams):
    """A network of others, which stays as it is."""

    kind: Literal["public"]


class OwnBackboneParams(Block):
    """A small residual network, first trained on the same images."""

    kind: Literal["own"]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
    training: TrainingParams


Positive = Annotated[float, Field(gt=0)]
Grid = Annotated[list[Positive], Field(min_length=1)]
"""Values of the grid search by cross-validation."""


class LogisticParams(Block):
    """Logistic regression; `inverse_penalty`: scikit-learn's C."""

    kind: Literal["logistic"]
    inverse_penalty: Grid


class SvmParams(Block):
    """A support vector machine with a radial kernel; `gamma` is in units of scikit-learn's `scale`."""

    kind: Literal["svm"]
    inverse_penalty: Grid
    gamma: Grid


class KnnParams(Block):
    """Votes of the nearest images of train by cosine, each falling by a factor of e every `temperature`."""

    kind: Literal["knn"]
    neighbours: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    temperature: Annotated[list[Annotated[float, Field(ge=0.02)]], Field(min_length=1)]


class MlpParams(Block):
    """A perceptron with hidden layers of these widths; `penalty`: scikit-learn's alpha, of the squared weights."""

    kind: Literal["mlp"]
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    penalty: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]
    epochs: Annotated[int, Field(ge=1)]


AnyBackboneParams = Annotated[PublicBackboneParams | OwnBackboneParams, Discriminator("kind")]
HeadParams = Annotated[LogisticParams | SvmParams | KnnParams | MlpParams, Discriminator("kind")]


class EmbeddingParams(DetectorEntry):
    """A backbone's features at `depths`, averaged over the cells of a `grid` x `grid`, under a classifier of its own.

    The head's lists are searched by cross-validation in `folds` folds of train, no patient on both sides. A backbone of
    its own has seen all of train before: its search is too sure of itself, which `val` then shows.
    """

    kind: Literal["embedding"]
    findings: Findings
    backbone: AnyBackboneParams
    depths: Depths
    grid: Annotated[int, Field(ge=1, le=8)]
    folds: Annotated[int, Field(ge=2)]
    head: HeadParams

    @model_validator(mode="after")
    def _stages_exist(self) -> "EmbeddingParams":
        if isinstance(self.backbone, OwnBackboneParams) and max(self.depths) > _OWN_STAGES:
            raise ValueError(f"depths: {self.depths} goes beyond the own network's {_OWN_STAGES} stages")
        return self

    @property
    def epochs(self) -> int:
        """Maximum number of epochs of the detector's own backbone; 0 for a pretrained one."""
        return self.backbone.training.epochs if isinstance(self.backbone, OwnBackboneParams) else 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of a public backbone's weights, if they come from one."""
        return self.backbone.files if isinstance(self.backbone, PublicBackboneParams) else ()
