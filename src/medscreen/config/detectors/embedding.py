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
    """A pretrained network with frozen weights."""

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
    """Support vector machine with an RBF kernel; `inverse_penalty`: C; `gamma`: multiples of scikit-learn's `scale`."""

    kind: Literal["svm"]
    inverse_penalty: Grid
    gamma: Grid


class KnnParams(Block):
    """k-nearest-neighbor classifier; training images are weighted by exp(cosine similarity / `temperature`)."""

    kind: Literal["knn"]
    neighbors: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    temperature: Annotated[list[Annotated[float, Field(ge=0.02)]], Field(min_length=1)]


class MlpParams(Block):
    """Multilayer perceptron; `hidden`: widths of its layers; `penalty`: scikit-learn's alpha (L2)."""

    kind: Literal["mlp"]
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    penalty: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]
    epochs: Annotated[int, Field(ge=1)]


AnyBackboneParams = Annotated[PublicBackboneParams | OwnBackboneParams, Discriminator("kind")]
HeadParams = Annotated[LogisticParams | SvmParams | KnnParams | MlpParams, Discriminator("kind")]


class EmbeddingParams(DetectorEntry):
    """A classifier on features of a backbone's stages `depths`, averaged over a grid of `grid` x `grid` regions.

    Lists in `head` are searched by cross-validation in `folds` folds of train, split by patient. A backbone of kind
    `own` was trained on all of train, so its cross-validation is optimistic; `val` shows by how much.
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
            raise ValueError(f"depths: {self.depths} exceeds the {_OWN_STAGES} stages of a backbone of kind own")
        return self

    @property
    def epochs(self) -> int:
        """Maximum number of epochs of a backbone of kind `own`; 0 for a pretrained one."""
        return self.backbone.training.epochs if isinstance(self.backbone, OwnBackboneParams) else 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The checkpoint file of a pretrained backbone, if `weights` names one."""
        return self.backbone.files if isinstance(self.backbone, PublicBackboneParams) else ()
