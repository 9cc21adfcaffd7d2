"""Detectors of one line."""

from typing import ClassVar, Literal

from medscreen.config.detectors.entry import DetectorEntry


class StatisticParams(DetectorEntry):
    """A one-line baseline: distance of one number of an image from the healthy median.

    `intensity`: mean grey; `gradient`: mean absolute difference of neighbouring pixels; `energy`: mean squared one;
    `entropy`: of the grey levels' histogram, bits.
    """

    kind: Literal["statistic"]
    variant: Literal["intensity", "gradient", "energy", "entropy"]
    is_baseline: ClassVar[bool] = True
