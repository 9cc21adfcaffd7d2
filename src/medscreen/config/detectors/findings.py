"""The findings that a detector classifies."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _different(names: list[str]) -> list[str]:
    if len({*names, "normal"}) <= len(names):
        raise ValueError(f"{names} lists a finding twice, or normal, which is always included")
    return names


Findings = Annotated[list[Annotated[str, Field(pattern=r"^\S(.*\S)?$")]], AfterValidator(_different)]
"""Names from the finding column of the labels, without normal; empty: normal against abnormal."""
