"""Roster entries of any kind; a kind has the name of its family's folder."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from medscreen.config.detectors.ensemble import EnsembleParams
from medscreen.config.detectors.kinds import SingleParams

# kinds of former versions: family and variant
_FORMER = {
    **{name: ("statistic", name) for name in ("intensity", "gradient", "energy", "entropy")},
    "vae": ("autoencoder", "variational"),
    "tunable_cnn": ("cnn", "plain"),
    "padim": ("patches", "padim"),
    "patchcore": ("patches", "patchcore"),
}
_FIRST_VARIANT = {"autoencoder": "plain", "cnn": "residual"}


def _refuse_former_kind(entry: object) -> object:
    if isinstance(entry, Mapping) and isinstance(kind := entry.get("kind"), str) and kind in _FORMER:
        family, variant = _FORMER[kind]
        raise ValueError(f"kind: {kind} is now kind: {family} with variant: {variant}")
    return entry


def with_current_kinds(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry recorded by a former version, with the current names of kinds."""
    found = dict(entry)
    kind = found.get("kind")
    if kind in _FORMER:
        found["kind"], found["variant"] = _FORMER[kind]
    elif kind in _FIRST_VARIANT and "variant" not in found:
        found["variant"] = _FIRST_VARIANT[kind]
    if isinstance(members := found.get("members"), Mapping):
        found["members"] = {name: with_current_kinds(member) for name, member in members.items()}
    return found


DetectorParams = Annotated[
    Annotated[SingleParams | EnsembleParams, Discriminator("kind")], BeforeValidator(_refuse_former_kind)
]
