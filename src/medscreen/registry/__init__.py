"""The registry's life: versions of packaged detectors, their stages, what was promoted and why."""

from medscreen.registry.operating_points import set_threshold
from medscreen.registry.promotions import promote_best
from medscreen.registry.versions import Version, find_version, in_stage, load_detector, model_name, move_to, register

__all__ = [
    "Version",
    "find_version",
    "in_stage",
    "load_detector",
    "model_name",
    "move_to",
    "promote_best",
    "register",
    "set_threshold",
]
