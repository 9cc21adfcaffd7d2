"""What the entries of the roster have in common."""

from typing import Annotated, ClassVar

from pydantic import Field

from medscreen.params.block import Block

DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class DetectorEntry(Block):
    """An entry of the roster; `is_baseline`: it is what the others have to beat, and is never promoted."""

    is_baseline: ClassVar[bool] = False

    @property
    def epochs(self) -> int:
        """How many it trains at most, 0 if it has no optimiser loop."""
        return 0


class TrainingParams(Block):
    """One optimiser loop for every network: AdamW, one-cycle learning rate, best epoch on `tune` kept."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=1)]


class TrainedEntry(DetectorEntry):
    """An entry whose network goes through the optimiser loop."""

    training: TrainingParams

    @property
    def epochs(self) -> int:
        """How many it trains at most."""
        return self.training.epochs
