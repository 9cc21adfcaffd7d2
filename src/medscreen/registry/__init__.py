"""The registry's life: versions of packaged detectors, their stages, what was promoted and why."""

from medscreen.registry.loading import load_detector
from medscreen.registry.operating_points import set_threshold
from medscreen.registry.promotions import promote_version, roll_back
from medscreen.registry.selection import promote_best
from medscreen.registry.versions import Version, find_version, held, model_name, register, versions_of

__all__ = [
    "Version",
    "find_version",
    "held",
    "load_detector",
    "model_name",
    "promote_best",
    "promote_version",
    "register",
    "roll_back",
    "set_threshold",
    "versions_of",
]
