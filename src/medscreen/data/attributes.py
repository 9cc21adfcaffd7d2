"""What is known of an image besides its label, and the groups that reports make of it."""

from collections.abc import Iterable

FINDING, AGE = "finding", "age"
UNKNOWN = "unknown"
FEWEST = 5
"""Patients that a value has to have, lest it leads to one of them or was typed as the name of one."""
OTHER = f"other (fewer than {FEWEST} patients)"
"""What stands for the values that fewer have, where a data set is not public."""

_BANDS = {40: "0-39", 60: "40-59", 80: "60-79", 150: "80+"}  # an age from there on is none


def group(trait: str, value: str) -> str:
    """The group that a value puts an image into: of an age its band, else the value; "unknown" where there is none."""
    said = value.strip()
    if trait != AGE or said == OTHER:
        return said or UNKNOWN
    try:
        years = float(said)
    except ValueError:
        return UNKNOWN
    return next((band for end, band in _BANDS.items() if 0 <= years < end), UNKNOWN)


def disclosed(values: Iterable[str | None], patients: Iterable[int]) -> dict[str, int]:
    """Value -> images that have it; "" counts as unknown, None not at all.

    Values of fewer than 5 patients count as `OTHER`: what is rare leads to a person.
    """
    having: dict[str, list[int]] = {}
    for value, patient in zip(values, patients, strict=True):
        if value is not None:
            having.setdefault(value or UNKNOWN, []).append(patient)
    counts: dict[str, int] = {}
    for value, people in sorted(having.items()):
        name = OTHER if value != UNKNOWN and len(set(people)) < FEWEST else value
        counts[name] = counts.get(name, 0) + len(people)
    return counts


def quoted(finding: str) -> str:
    """A finding for a message; where it stands for rare ones, it says so."""
    return f"{finding!r}" + (
        " (the name of every finding that so few have: use it for theirs)" if finding == OTHER else ""
    )
