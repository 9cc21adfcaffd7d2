"""Detectors that learn from both classes."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from medscreen.params.detectors.entry import TrainedEntry


def _different_findings(names: list[str]) -> list[str]:
    if len({*names, "normal"}) <= len(names):
        raise ValueError(f"{names} names a finding twice, or normal, which is always one")
    return names


class CnnParams(TrainedEntry):
    """A small residual network trained on both classes; with `findings`, on normal and each of them."""

    kind: Literal["cnn"]
    findings: Annotated[list[Annotated[str, Field(pattern=r"^\S(.*\S)?$")]], AfterValidator(_different_findings)]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
