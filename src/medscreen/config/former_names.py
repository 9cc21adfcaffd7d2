"""Former names of settings, package outputs and metadata, mapped to the current names."""

from collections.abc import Mapping
from typing import Any

# Former key of params.yaml -> key
KEYS = {
    "average": "ema_decay", "bench": "threshold_comparison", "doubling": "upsampling",
    "exact_copies": "exact_duplicates", "halving": "downsampling", "near_copies": "near_duplicates",
    "neighbours": "neighbors", "optimiser": "optimizer", "paint": "output_kernel", "refer": "deferral",
    "standardise": "standardize", "top": "top_fraction", "traits": "attributes", "views": "tta",
}  # fmt: skip
_VALUES = {("balance", "triple"): "oversample_augmented"}
# blocks whose keys are chosen by users
_NAMED_BY_USERS = frozenset({"datasets", "detectors", "members", "searched", "studies"})

# Former name in a package -> current name: outputs, constants of nodes, metadata properties
_OF_PACKAGES = {
    "refer": "deferred", "refer_from": "defer_from", "refer_to": "defer_to", "score_at_half": "decision_boundary",
}  # fmt: skip


def current_param(name: str) -> str:
    """Current dotted name of a setting: `cnn.training.average` -> `cnn.training.ema_decay`."""
    return ".".join(KEYS.get(part, part) for part in name.split("."))


def current_value(name: str, value: Any) -> Any:
    """Current name of the value of the setting with this dotted name."""
    return _VALUES.get((name.rpartition(".")[2], value), value) if isinstance(value, str) else value


def with_current_keys(content: Any, users_names: bool = False) -> Any:
    """A block of a recorded params.yaml with current keys; `users_names`: users chose its keys, which stay."""
    if isinstance(content, Mapping):
        return {
            (name if users_names else current_param(name)): with_current_keys(
                current_value(name, value), name in _NAMED_BY_USERS and not users_names
            )
            for name, value in content.items()
        }
    return [with_current_keys(item) for item in content] if isinstance(content, list) else content


def current_in_package(name: str) -> str:
    """Current name of a package's output, constant (after `op_`) or metadata property."""
    return _OF_PACKAGES.get(name, name)


def with_current_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A package's metadata with current property names."""
    found = {current_in_package(name): value for name, value in metadata.items()}
    if isinstance(point := found.get("operating_point"), Mapping):
        found["operating_point"] = {current_in_package(name): value for name, value in point.items()}
    return found
