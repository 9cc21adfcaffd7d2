"""Attributes of an image (sex, age, site) and their groups in reports."""

from medscreen.config.privacy import OTHER, UNKNOWN

AGE = "age"

_BANDS = {40: "0-39", 60: "40-59", 80: "60-79", 150: "80+"}  # upper end -> band; higher ages are invalid


def group(attribute: str, value: str) -> str:
    """Subgroup of an image with this value: for an age its band, else the value; "unknown" if there is none."""
    text = value.strip()
    if attribute != AGE or text == OTHER:
        return text or UNKNOWN
    try:
        years = float(text)
    except ValueError:
        return UNKNOWN
    return next((band for end, band in _BANDS.items() if 0 <= years < end), UNKNOWN)


def quoted(finding: str) -> str:
    """A finding in quotes for a message, explained if it is the common name of rare findings."""
    return f"{finding!r}" + (" (the common name of all findings with so few patients)" if finding == OTHER else "")
