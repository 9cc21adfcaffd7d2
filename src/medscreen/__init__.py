"""medscreen screens medical images for what looks abnormal. Research use only, never diagnosis."""

from typing import TYPE_CHECKING

from medscreen.errors import MedscreenError

if TYPE_CHECKING:
    from medscreen.packaging.packaged_detector import PackagedDetector

__all__ = ["MedscreenError", "load_detector"]


def load_detector(name: str, stage: str = "Production") -> "PackagedDetector":
    """Loads the version of the registered model `name` that is in `stage`.

    `name`: `<data set>-detector`, such as `phantom-detector`. `stage`: Production, Staging or Archived. Raises
    MedscreenError outside a checkout, for an unknown model or stage, where no version has that stage, and where
    its files are lost or damaged.
    """
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.registry.stage_package import package_in_stage

    return PackagedDetector(package_in_stage(name, stage).graph)
