"""Display settings: from stored values to display gray."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block


class WindowParams(Block):
    """An explicit window, in the units after the file's rescale: Hounsfield units for CT."""

    center: float
    width: Annotated[float, Field(ge=1)]


class DisplayParams(Block):
    """Display settings of DICOM; other pictures are displayed as they are.

    `window`: `file` is the file's VOI LUT or first window, percentiles where it has none; or a named window, which
    needs Hounsfield units; or `{center, width}`. `burned_in`: files whose header states burned-in annotation are
    counted or refused.
    """

    window: Literal["file", "soft_tissue", "lung", "bone", "brain", "percentiles"] | WindowParams
    burned_in: Literal["count", "refuse"]


FILE_DISPLAY = DisplayParams(window="file", burned_in="count")
"""As the files themselves say: the display of data sets that have no key for it."""
