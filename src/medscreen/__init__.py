"""medscreen screens medical images for what looks abnormal. Research use only, never diagnosis."""

from typing import TYPE_CHECKING

from medscreen.errors import MedscreenError

if TYPE_CHECKING:
    from medscreen.packaging.packaged_detector import PackagedDetector

__all__ = ["MedscreenError", "load_detector"]


def load_detector(name: str, stage: str = "Production") -> "PackagedDetector":
    """The detector that the registered model `name` has in `stage`; see `medscreen.registry.stage_package.load_detector`."""
    from medscreen.registry.stage_package import load_detector as load

    return load(name, stage)
