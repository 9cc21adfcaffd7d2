"""What curation tells people: the page, what is worth a look, and whether val and test are alike."""

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factories import CURATION, image_set, real_data
from html_pages import Tags
from medscreen.config.datasets import MedMnistParams
from medscreen.data.curation.audit import labels_taken
from medscreen.data.curation.curation import Curated, curate
from medscreen.data.images import SPLITS, ImageSet
from medscreen.data.sources import medmnist
from medscreen.data.sources.records import Record
from medscreen.reporting.curation_page.contact_sheets import contact_sheets, pair_sheet
from medscreen.reporting.curation_page.page import curation_page, warnings
from medscreen.reporting.curation_page.split_shift import shift
from test_copies import darker, published, textured

SIZE = 48
NAMES = ["<script>alert(1)</script>.png", "a|b.png", "![x](http://elsewhere/x.png).png", "![near](near).png"]


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Published splits with copies of both kinds across them, and broken files with malicious names."""
    folder = tmp_path_factory.mktemp("report")
    more = [Record(name, folder / name, f"b{i}", i % 2, "x", "train") for i, name in enumerate(NAMES)]
    more += [
        Record("leak.png", textured(70), "p3", 0, "x", "test"),
        Record(NAMES[0] + "2", darker(47), "q", 0, "x", "train"),
        Record("twin.png", darker(41), "r", 1, "x", "test"),
    ]
    return curate(published(*more), SIZE, CURATION, 7, 1, folder / "scratch")


def audit_of(curated: Curated, **changed: Any) -> dict[str, Any]:
    nothing = {"auroc": None, "images": {"val": 3, "test": 3}, "reason": "too few"}
    labels = labels_taken(list(splits_of(curated).values()))
    return {"dataset": "films", **curated.audit, "labels": labels, "shift": nothing} | changed


def splits_of(curated: Curated) -> dict[str, ImageSet]:
    return {name: curated.split(name) for name in SPLITS}


@pytest.fixture(scope="module")
def page(curated: Curated) -> str:
    return curation_page(audit_of(curated), curated, splits_of(curated))


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    seen = Tags(page)
    assert {"script", "link", "iframe"}.isdisjoint(tag for tag, _ in seen.tags)
    sources = [attributes["src"] or "" for _, attributes in seen.tags if "src" in attributes]
    assert len(sources) == 9  # two classes of four splits, and the near duplicates
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\(|@import|(src|href)=.https?:", page)
    assert "default-src 'none'" in page


def test_the_page_names_files_as_they_are(page: str) -> None:
    seen = Tags(page)
    for name in NAMES:
        assert name in seen.text


def test_the_page_says_what_the_audit_says(page: str, curated: Curated) -> None:
    text = Tags(page).text
    audit = curated.audit
    for split in SPLITS:
        assert f"{audit['splits'][split]['mean_grey']:.1f}" in text
    assert str(audit["records"]) in text
    assert "Labels of the source" in text
    for pair in audit["near_duplicates"]["listed"]:
        assert f"{pair['correlation']:.3f}" in text
    assert "Not measured: too few." in text


def test_labels_are_listed_by_number_and_beyond_fifty_as_one() -> None:
    images = image_set(124, 8, 3)
    images = replace(images, attributes={"finding": ["none" if i % 2 == 0 else f"f{i // 2:02}" for i in range(124)]})
    listed = labels_taken([images, images.take(np.arange(4))])
    assert listed[:3] == [
        {"label": "none", "taken_as": "normal", "images": 64},
        {"label": "f00", "taken_as": "abnormal", "images": 2},
        {"label": "f01", "taken_as": "abnormal", "images": 2},
    ]
    assert listed[-1] == {"label": "12 more", "taken_as": "abnormal", "images": 12}
    assert len(listed) == 52


def test_equal_audits_give_equal_pages(page: str, curated: Curated) -> None:
    assert curation_page(audit_of(curated), curated, splits_of(curated)) == page


def test_a_page_without_copies_shows_none(curated: Curated, tmp_path: Path) -> None:
    plain = curate(published(), SIZE, CURATION, 7, 1, tmp_path / "scratch")
    seen = Tags(curation_page(audit_of(plain), plain, splits_of(plain)))
    assert sum("src" in attributes for _, attributes in seen.tags) == 8
    assert "None: no leak" in seen.text
    assert list(warnings(audit_of(plain))) == []


def test_what_makes_a_result_doubtful_is_a_sentence(curated: Curated) -> None:
    found = {"value": 0.74, "low": 0.7, "high": 0.78}
    lines = list(warnings(audit_of(curated, shift={"auroc": found, "images": {}, "reason": ""})))
    told = " ".join(lines)
    assert re.search(
        r"(train|tune) and test share patients \(1\) or exact duplicates \(0\).*(train|tune): 1\.", lines[0]
    )
    assert "val+test 1" in told
    assert "4 of 59 files could not be read" in told
    assert "AUROC 0.740 (0.700 to 0.780)" in told
    assert all(line.endswith(".") and "\n" not in line for line in lines)
    alike = {"value": 0.52, "low": 0.47, "high": 0.57}
    assert not any(
        "val and test differ" in line
        for line in warnings(audit_of(curated, shift={"auroc": alike, "images": {}, "reason": ""}))
    )


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)))


def test_a_sheet_shows_the_images_of_its_split_and_class() -> None:
    splits = {name: image_set(60, 96, seed) for seed, name in enumerate(SPLITS)}
    sheets = dict(contact_sheets(splits))
    assert set(sheets) == {f"{name}-{word}" for name in SPLITS for word in ("normal", "abnormal")}
    for name, images in splits.items():
        for label, word in enumerate(("normal", "abnormal")):
            sheet = picture(sheets[f"{name}-{word}"])
            assert sheet.shape == (3 * 100 - 4, 8 * 100 - 4)
            of_class = images.pixels[images.labels == label]
            np.testing.assert_array_equal(sheet[:96, :96], of_class[0])
            np.testing.assert_array_equal(sheet[-96:, -96:], of_class[-1])


def test_near_copies_lie_side_by_side(curated: Curated) -> None:
    assert len(curated.near) == 2
    sheet = picture(pair_sheet(curated.images.pixels, curated.near))
    assert sheet.shape[1] > 4 * 96
    first = np.asarray(
        Image.fromarray(curated.images.pixels[curated.near[0].second]).resize((96, 96), Image.Resampling.BICUBIC)
    )
    np.testing.assert_array_equal(sheet[:96, 100:196], first)


def normals(number: int, seed: int, brighter: float = 0.0, patients: int | None = None) -> ImageSet:
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(110 + brighter, 25, (number, 1, 1)) + rng.normal(0, 9, (number, 16, 16)), 0, 255)
    persons = np.arange(number) if patients is None else np.arange(number) % patients
    return ImageSet(pixels.astype(np.uint8), np.zeros(number, np.int64), persons, [""] * number, [""] * number)


def test_splits_of_one_source_are_alike() -> None:
    found = shift(normals(200, 1), normals(200, 2), 7)
    assert found["auroc"]["low"] < 0.5 < found["auroc"]["high"]
    assert found["images"] == {"val": 200, "test": 200}


def test_splits_of_two_sources_are_told_apart() -> None:
    found = shift(normals(200, 1), normals(200, 2, brighter=40.0), 7)
    assert found["auroc"]["low"] > 0.75


def test_a_classifier_cannot_recognise_patients() -> None:
    # six images of each person, alike: whoever has seen one of them knows the others
    def of_patients(seed: int) -> ImageSet:
        persons = normals(40, seed)
        return ImageSet(np.repeat(persons.pixels, 6, 0), np.zeros(240, np.int64), np.arange(240) // 6 + 100 * seed,
                        [""] * 240, [""] * 240)  # fmt: skip

    found = shift(of_patients(1), of_patients(2), 7)["auroc"]
    assert found["low"] < 0.5 < found["high"]
    assert found["high"] - found["low"] > 0.15


def test_abnormal_images_change_nothing() -> None:
    val, test = normals(60, 1), normals(60, 2)
    with_abnormal = ImageSet(
        np.concatenate([test.pixels, 255 - test.pixels]), np.repeat([0, 1], 60), np.arange(120), [""] * 120, [""] * 120
    )
    assert shift(val, with_abnormal, 7) == shift(val, test, 7)


@pytest.mark.parametrize(("number", "patients"), [(0, None), (24, None), (200, 24)])
def test_too_few_patients_say_nothing(number: int, patients: int | None) -> None:
    found = shift(normals(100, 1), normals(number, 2, patients=patients), 7)
    assert found["auroc"] is None
    assert "25 normal patients" in found["reason"]


def test_normals_of_pneumoniamnist_can_be_told_apart() -> None:
    root = real_data("medmnist", "pneumoniamnist.npz").parent
    params = MedMnistParams(kind="medmnist", root="", image_size=28, flag="pneumoniamnist", normal_labels=[0])
    sides = []
    for split in ("val", "test"):
        records = [record for record in medmnist.read_records(params, root) if record.split == split]
        sides.append(
            ImageSet(
                np.stack([np.asarray(record.image) for record in records]), np.array([r.label for r in records]),
                np.arange(len(records)), [""] * len(records), [""] * len(records),
            )
        )  # fmt: skip
    found = shift(*sides, 7)
    assert 0.7 < found["auroc"]["low"] < found["auroc"]["high"] < 0.85
    assert found["images"] == {"val": 135, "test": 234}
