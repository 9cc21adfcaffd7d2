"""The findings that a detector tells apart."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _different(names: list[str]) -> list[str]:
    if len({*names, "normal"}) <= len(names):
        raise ValueError(f"{names} names a finding twice, or normal, which is always one")
    return names


Findings = Annotated[list[Annotated[str, Field(pattern=r"^\S(.*\S)?$")]], AfterValidator(_different)]
"""Names from the labels' finding column, normal left out; none: normal against abnormal."""
