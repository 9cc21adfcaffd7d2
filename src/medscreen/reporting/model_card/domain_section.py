"""The section on which images the decisions of a version hold for."""

from collections.abc import Iterator, Mapping
from typing import Any

from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.pages.markdown import bullets, inert, interval, percent, section


def domain(facts: CardFacts) -> str:
    """The domain check, its rate on val and test, what DICOM stated of train; "" of a package without the check."""
    check: Mapping[str, Any] = facts.operating_point.get("domain", {})
    if not check:
        return ""
    calibrated = check["calibrated_on"]
    return section(
        "Domain",
        f"`in_domain` is false where an image lies too far from {check['learned_from']} {facts.images} of train, by "
        f"{' or '.join(map(inert, check['compares']))}. Outside, the score means nothing, and `medscreen predict` "
        "calls the image `outside the training data`.",
        bullets([*_rates(facts), *_stated(check.get("dicom", {}))]),
        f"Of images like those of train, at most {percent(check['guaranteed'])} are outside on average: a conformal "
        f"bound, calibrated on {calibrated['images']} images of {calibrated['patients']} patients of tune and val. "
        "It bounds false alarms alone: an image of another kind may still lie inside.",
    )


def _rates(facts: CardFacts) -> Iterator[str]:
    for split, note in (("val", ", which the check was calibrated on"), ("test", "")):
        if rate := facts.estimate(split, "in_domain"):
            yield f"In the domain on {split}{facts.aside}{note}: {interval(rate)} of the images."


def _stated(dicom: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for name, counts in dicom.items():
        values = ", ".join(f"{inert(value)} {images}" for value, images in counts.items())
        yield f"DICOM {inert(name)} of the training images: {values}."
