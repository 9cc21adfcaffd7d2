"""Base class of the roster's entries."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from medscreen.config.base import Block

DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class DetectorEntry(Block):
    """An entry of the roster; `is_baseline`: it is what the others have to beat, and is never promoted."""

    is_baseline: ClassVar[bool] = False
    kind: str

    @property
    def epochs(self) -> int:
        """Maximum number of epochs; 0 without an optimizer loop."""
        return 0

    def within(self, epochs: int) -> Self:  # noqa: ARG002
        """The same, trained for so many epochs, if it is trained by epochs at all."""
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of detector that its training runs the code of; a kind is a folder of `detectors`."""
        return (self.kind,)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files read besides the images; their content is part of the run key."""
        return ()


class TrainingParams(Block):
    """Training by epochs with a one-cycle learning rate; the best epoch on `tune` is kept.

    `optimizer`: `sgd` has Nesterov momentum. `ema_decay`: decay of the exponential moving average of the weights, for
    each step; 0 for none. `patience`: epochs without improvement on `tune` after which training stops.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["adamw", "adam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]


class TrainedEntry(DetectorEntry):
    """An entry whose network goes through the optimiser loop."""

    training: TrainingParams

    @property
    def epochs(self) -> int:
        """Maximum number of epochs."""
        return self.training.epochs

    def within(self, epochs: int) -> Self:
        """The same, trained for so many epochs."""
        return self.model_copy(update={"training": self.training.model_copy(update={"epochs": epochs})})
