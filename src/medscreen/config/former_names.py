"""Former names of settings, package outputs and metadata, mapped to the current names."""

from collections.abc import Mapping
from typing import Any

# Former key of params.yaml -> key
KEYS = {
    "average": "ema_decay", "bench": "threshold_comparison", "doubling": "upsampling",
    "exact_copies": "exact_duplicates", "halving": "downsampling", "near_copies": "near_duplicates",
    "neighbourhood": "neighborhood", "neighbours": "neighbors", "optimiser": "optimizer", "paint": "output_kernel",
    "refer": "deferral", "standardise": "standardize", "top": "top_fraction", "traits": "attributes", "views": "tta",
}  # fmt: skip
_VALUES = {("balance", "triple"): "oversample_augmented"}
# blocks whose keys are chosen by users
_NAMED_BY_USERS = frozenset({"choices", "datasets", "detectors", "members", "searched", "studies"})

# Former name in a package -> current name: outputs, constants of nodes, metadata properties
_OF_PACKAGES = {
    "refer": "deferred", "refer_from": "defer_from", "refer_to": "defer_to", "score_at_half": "decision_boundary",
}  # fmt: skip


def current_param(name: str) -> str:
    """Current dotted name of a setting: `cnn.training.average` -> `cnn.training.ema_decay`; members keep theirs."""
    parts = name.split(".")
    return ".".join(
        part if before == "members" else KEYS.get(part, part) for before, part in zip(["", *parts], parts, strict=False)
    )


def current_value(name: str, value: Any) -> Any:
    """Current name of the value of the setting with this dotted name."""
    return _VALUES.get((name.rpartition(".")[2], value), value) if isinstance(value, str) else value


def with_current_keys(content: Any, setting: str = "", users_names: bool = False) -> Any:
    """A part of a recorded params.yaml with current keys and values.

    `setting`: dotted name of the setting that has this value. `users_names`: users chose the keys, which stay.
    """
    if isinstance(content, Mapping):
        return {
            (key if users_names or not isinstance(key, str) else current_param(key)): with_current_keys(
                value, setting if users_names or key == "choices" else key, key in _NAMED_BY_USERS and not users_names
            )
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [with_current_keys(item, setting) for item in content]
    return current_value(setting, content)


def current_in_package(name: str) -> str:
    """Current name of a package's output, constant (after `op_`) or metadata property."""
    return _OF_PACKAGES.get(name, name)


def with_current_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A package's metadata with current property names."""
    found = {current_in_package(name): value for name, value in metadata.items()}
    if isinstance(point := found.get("operating_point"), Mapping):
        found["operating_point"] = {current_in_package(name): value for name, value in point.items()}
    return found
