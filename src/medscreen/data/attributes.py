"""Attributes of an image (sex, age, site) and their groups in reports."""

from medscreen.config.privacy import OTHER, UNKNOWN

AGE = "age"

_BANDS = {40: "0-39", 60: "40-59", 80: "60-79", 150: "80+"}  # an age from there on is none


def group(attribute: str, value: str) -> str:
    """The group that a value puts an image into: of an age its band, else the value; "unknown" where there is none."""
    text = value.strip()
    if attribute != AGE or text == OTHER:
        return text or UNKNOWN
    try:
        years = float(text)
    except ValueError:
        return UNKNOWN
    return next((band for end, band in _BANDS.items() if 0 <= years < end), UNKNOWN)


def quoted(finding: str) -> str:
    """A finding for a message; where it stands for rare ones, it says so."""
    return f"{finding!r}" + (
        " (the name of every finding that so few have: use it for theirs)" if finding == OTHER else ""
    )
