"""Groups of attributes, and what becomes of values that few patients have."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factories import CURATION
from medscreen.config.privacy import OTHER
from medscreen.data.attributes import group, quoted
from medscreen.data.curation.curation import Curated, curate
from medscreen.data.curation.small_cells import without_rare_values
from medscreen.data.images import SPLITS
from medscreen.data.sources.records import Record

SIZE = 16
NAME = "Przybylski Ottokar"


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("0", "0-39"), ("39.9", "0-39"), ("40", "40-59"), ("59.9", "40-59"), (" 60 ", "60-79"), ("79", "60-79"),
        ("80", "80+"), ("101", "80+"), ("149", "80+"), ("150", "unknown"), ("4711003", "unknown"), ("inf", "unknown"),
        ("nan", "unknown"), ("-5", "unknown"), ("forty", "unknown"), ("", "unknown"), (OTHER, OTHER),
    ],
)  # fmt: skip
def test_ages_have_bands(age: str, band: str) -> None:
    assert group("age", age) == band


def test_other_traits_are_groups_themselves() -> None:
    assert [group("site", value) for value in ("north", " north ", "", "41")] == ["north", "north", "unknown", "41"]


def test_a_message_says_what_the_name_of_rare_findings_means() -> None:
    assert quoted("mass") == "'mass'"
    assert quoted(OTHER).startswith(f"'{OTHER}' (")


def record(number: int, **changed: Any) -> Record:
    image = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    content: dict[str, Any] = {
        "origin": f"{number}.png", "image": image, "patient": f"p{number}", "label": number % 2,
        "finding": ("none", "mass")[number % 2], "attributes": {"site": "north", "age": str(30 + number % 40)},
    }  # fmt: skip
    return Record(**content | changed)


def run(records: list[Record], folder: Path) -> Curated:
    return without_rare_values(curate(records, SIZE, CURATION, 7, 1, folder / "scratch"))


def of(curated: Curated, attribute: str) -> dict[str, str]:
    """File -> value, in the splits."""
    splits = [curated.split(name) for name in SPLITS]
    return {
        file: value
        for images in splits
        for file, value in zip(images.origins, images.attributes[attribute], strict=True)
    }


def test_a_name_that_was_typed_as_label_or_trait_goes_no_further(tmp_path: Path) -> None:
    records = [record(i) for i in range(80)]
    records[3] = record(3, finding=NAME)
    records[4] = record(4, attributes={"site": NAME, "age": NAME})
    curated = run(records, tmp_path)
    assert of(curated, "finding")["3.png"] == of(curated, "site")["4.png"] == of(curated, "age")["4.png"] == OTHER
    assert not any(NAME in value for column in curated.images.attributes.values() for value in column)
    assert NAME not in str(curated.audit)
    assert curated.audit["merged_values"] == {"age": 1, "finding": 1, "site": 1}


def test_a_value_stays_that_five_patients_have(tmp_path: Path) -> None:
    records = [record(i) for i in range(80)]
    for i in (1, 3, 5, 7, 9):
        records[i] = record(i, finding="stone")
    for i in (11, 13, 15, 17):
        records[i] = record(i, finding="cyst")
    found = of(run(records, tmp_path), "finding")
    assert [found[f"{i}.png"] for i in (1, 9, 11, 17, 19)] == ["stone", "stone", OTHER, OTHER, "mass"]


def test_images_of_one_patient_count_once(tmp_path: Path) -> None:
    records = [record(i) for i in range(80)] + [record(100 + 2 * i, patient="p4", finding="rare") for i in range(9)]
    # and two patients who share an image are one
    records += [record(201 + 2 * i, patient=f"q{i}", finding="few") for i in range(5)]
    records.append(replace(records[-1], origin="again.png", patient="q0"))
    found = of(run(records, tmp_path), "finding")
    assert found["100.png"] == found["201.png"] == OTHER


def test_ages_count_by_their_band(tmp_path: Path) -> None:
    records = [record(i) for i in range(80)]
    records[6] = record(6, attributes={"age": "83"})
    records[8] = record(8, attributes={"age": "4711003"})
    curated = run(records, tmp_path)
    ages = of(curated, "age")
    assert (ages["6.png"], ages["8.png"], ages["5.png"]) == (OTHER, OTHER, "35")
    assert curated.audit["merged_values"] == {"age": 2}


def test_what_is_missing_stays_missing(tmp_path: Path) -> None:
    records = [record(i) for i in range(80)]
    records[2] = record(2, attributes={})
    curated = run(records, tmp_path)
    assert of(curated, "site")["2.png"] == of(curated, "age")["2.png"] == ""
    assert curated.audit["merged_values"] == {}


def test_nothing_else_changes(tmp_path: Path) -> None:
    records = [record(i, finding=f"kind {i}") for i in range(80)]
    before = curate(records, SIZE, CURATION, 7, 1, tmp_path / "before")
    after = without_rare_values(before)
    assert after.audit == before.audit | {"merged_values": {"finding": 80}}
    assert before.audit["merged_values"] == {}
    assert after.images.labels is before.images.labels
    assert after.splits is before.splits
