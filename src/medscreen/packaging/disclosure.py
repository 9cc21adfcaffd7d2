"""Disclosure control: counts of values, with values of few patients merged."""

from collections.abc import Iterable

from medscreen.config.privacy import FEWEST, OTHER, UNKNOWN


def disclosed(values: Iterable[str | None], patients: Iterable[int]) -> dict[str, int]:
    """Value -> number of images; "" counts as unknown, None is left out.

    Values of fewer than 5 patients are merged into `OTHER`, because rare values can identify a patient.
    """
    having: dict[str, list[int]] = {}
    for value, patient in zip(values, patients, strict=True):
        if value is not None:
            having.setdefault(value or UNKNOWN, []).append(patient)
    counts: dict[str, int] = {}
    for value, of_value in sorted(having.items()):
        name = OTHER if value != UNKNOWN and len(set(of_value)) < FEWEST else value
        counts[name] = counts.get(name, 0) + len(of_value)
    return counts
