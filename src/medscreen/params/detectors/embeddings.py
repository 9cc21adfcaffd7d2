"""Detectors that classify an image by its embedding."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator

from medscreen.params.block import Block
from medscreen.params.detectors.entry import DetectorEntry, TrainingParams
from medscreen.params.detectors.findings import Findings

_OWN_STAGES = 3


class PublicBackboneParams(Block):
    """A network of others, frozen; `weights`: pretrained, none or a file; `side`: of the image it is shown, in pixels.

    `channels`: the grey repeated three times, or the weights of the first layer summed over the colours.
    """

    kind: Literal["public"]
    name: Literal["resnet18", "resnet50", "densenet121", "vgg19", "efficientnet_lite0"]
    weights: Annotated[str, Field(min_length=1)]
    channels: Literal["repeat", "sum"]
    side: Annotated[int, Field(ge=32, le=1024)]


class OwnBackboneParams(Block):
    """A small residual network, first trained on the same images."""

    kind: Literal["own"]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
    training: TrainingParams


Positive = Annotated[float, Field(gt=0)]
Grid = Annotated[list[Positive], Field(min_length=1)]
"""What the cross-validation tries."""


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


BackboneParams = Annotated[PublicBackboneParams | OwnBackboneParams, Discriminator("kind")]
HeadParams = Annotated[LogisticParams | SvmParams | KnnParams | MlpParams, Discriminator("kind")]


def _different(depths: list[int]) -> list[int]:
    if len(set(depths)) < len(depths):
        raise ValueError(f"{depths} names a depth twice")
    return depths


class EmbeddingParams(DetectorEntry):
    """A backbone's features at `depths`, averaged over the cells of a `grid` x `grid`, under a classifier of its own.

    The head's lists are searched by cross-validation in `folds` folds of train, no patient on both sides.
    """

    kind: Literal["embedding"]
    findings: Findings
    backbone: BackboneParams
    depths: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1), AfterValidator(_different)]
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
        """How many the own backbone trains at most, 0 for another's."""
        return self.backbone.training.epochs if isinstance(self.backbone, OwnBackboneParams) else 0
