"""Detectors that redraw healthy images."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.params.detectors.entry import TrainedEntry


class AutoencoderParams(TrainedEntry):
    """A convolutional autoencoder trained on healthy images, scored by the `top` share of its local residuals."""

    kind: Literal["autoencoder"]
    width: Annotated[int, Field(ge=1)]
    bottleneck: Annotated[int, Field(ge=1)]
    top: Annotated[float, Field(gt=0, le=1)]
