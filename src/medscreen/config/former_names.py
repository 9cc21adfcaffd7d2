"""Names that settings, and what is made from them, had in former versions of medscreen, with those of today."""

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
# blocks whose keys are names that users choose
_NAMED_BY_USERS = frozenset({"datasets", "detectors", "members", "searched", "studies"})

# Former name in a package -> name: of an output, of a constant of its nodes, of its metadata
_OF_PACKAGES = {
    "refer": "deferred", "refer_from": "defer_from", "refer_to": "defer_to", "score_at_half": "decision_boundary",
}  # fmt: skip


def current_param(name: str) -> str:
    """The dotted name of a setting as it is today: `cnn.training.average` -> `cnn.training.ema_decay`."""
    return ".".join(KEYS.get(part, part) for part in name.split("."))


def current_value(name: str, value: Any) -> Any:
    """The value of a setting, by its dotted name, as it is named today."""
    return _VALUES.get((name.rpartition(".")[2], value), value) if isinstance(value, str) else value


def with_current_keys(content: Any, users_names: bool = False) -> Any:
    """A block of a recorded params.yaml with the keys of today; `users_names`: its own keys are names, and stay."""
    if isinstance(content, Mapping):
        return {
            (name if users_names else current_param(name)): with_current_keys(
                current_value(name, value), name in _NAMED_BY_USERS and not users_names
            )
            for name, value in content.items()
        }
    return [with_current_keys(item) for item in content] if isinstance(content, list) else content


def current_in_package(name: str) -> str:
    """The name of a package's output, of a constant (after `op_`) or of a property of its metadata, as it is today."""
    return _OF_PACKAGES.get(name, name)


def with_current_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A package's metadata with the properties of today."""
    found = {current_in_package(name): value for name, value in metadata.items()}
    if isinstance(point := found.get("operating_point"), Mapping):
        found["operating_point"] = {current_in_package(name): value for name, value in point.items()}
    return found
