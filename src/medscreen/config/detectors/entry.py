"""Base class of the roster's entries."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from medscreen.config.base import Block

DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class DetectorEntry(Block):
    """An entry of the roster. `is_baseline`: other detectors are compared with it, and it is never promoted."""

    is_baseline: ClassVar[bool] = False
    kind: str

    @property
    def epochs(self) -> int:
        """Maximum number of epochs; 0 for a detector that is not trained by epochs."""
        return 0

    def within(self, epochs: int) -> Self:  # noqa: ARG002
        """A copy trained for this number of epochs; the same entry if it is not trained by epochs."""
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of detector whose code its training runs; each is a folder of `detectors`."""
        return (self.kind,)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that it needs besides the images; their contents are part of the run key."""
        return ()


class TrainingParams(Block):
    """Training by epochs with a one-cycle learning rate; the best epoch on `tune` is kept.

    `optimizer`: `sgd` has Nesterov momentum. `ema_decay`: decay per step of the exponential moving average of the
    weights; 0 for none. `patience`: epochs without improvement on `tune` after which training stops.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["adamw", "adam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]


class TrainedEntry(DetectorEntry):
    """An entry of a network that is trained by epochs."""

    training: TrainingParams

    @property
    def epochs(self) -> int:
        """Maximum number of epochs."""
        return self.training.epochs

    def within(self, epochs: int) -> Self:
        """A copy trained for this number of epochs."""
        return self.model_copy(update={"training": self.training.model_copy(update={"epochs": epochs})})
