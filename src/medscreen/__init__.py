"""Screening of medical images for abnormal ones. For research only, not for diagnosis."""

from typing import TYPE_CHECKING

from medscreen.errors import MedscreenError

if TYPE_CHECKING:
    from medscreen.packaging.packaged_detector import PackagedDetector

__all__ = ["MedscreenError", "load_detector"]


def load_detector(name: str, stage: str = "Production") -> "PackagedDetector":
    """Loads the version of the registered model `name` in `stage`.

    `name`: `<data set>-detector`, such as `phantom-detector`. `stage`: Production, Staging or Archived. Raises
    MedscreenError outside a checkout, for an unknown model or stage, if no version is in that stage, and if its files
    are missing or damaged.
    """
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.registry.stage_package import package_in_stage

    return PackagedDetector(package_in_stage(name, stage).graph)
