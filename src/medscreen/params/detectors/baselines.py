"""Detectors of one line."""

from typing import ClassVar, Literal

from medscreen.params.detectors.entry import DetectorEntry


class GradientParams(DetectorEntry):
    """The one-line baseline: distance of an image's mean gradient from the healthy median."""

    kind: Literal["gradient"]
    is_baseline: ClassVar[bool] = True
