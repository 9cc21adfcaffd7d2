"""Display settings of DICOM images."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block


class WindowParams(Block):
    """A window in units after rescale: Hounsfield units for CT."""

    center: float
    width: Annotated[float, Field(ge=1)]


class DisplayParams(Block):
    """Display settings of DICOM; they do not apply to other image files.

    `window`: `file` uses the file's VOI LUT or first window, or percentiles if it has none; a named window needs
    Hounsfield units; `{center, width}` sets one. `burned_in`: files whose header states burned-in annotation are
    counted or refused.
    """

    window: Literal["file", "soft_tissue", "lung", "bone", "brain", "percentiles"] | WindowParams
    burned_in: Literal["count", "refuse"]


FILE_DISPLAY = DisplayParams(window="file", burned_in="count")
"""Display of data sets without the setting `display`: as the files state."""
