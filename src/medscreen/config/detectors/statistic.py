"""Settings of baselines."""

from typing import ClassVar, Literal

from medscreen.config.detectors.entry import DetectorEntry


class StatisticParams(DetectorEntry):
    """A baseline: distance of one number of an image from the healthy median.

    `intensity`: mean gray. `gradient`: mean absolute difference of neighboring pixels. `energy`: their mean squared
    difference. `entropy`: entropy of the gray-level histogram, in bits.
    """

    kind: Literal["statistic"]
    variant: Literal["intensity", "gradient", "energy", "entropy"]
    is_baseline: ClassVar[bool] = True
