"""What git and MLflow are shown of the curation of data that people are in: no names of files."""

import json
from pathlib import Path
from typing import Any

import pytest

from factories import FOLDERS, PHANTOM
from medscreen.config.datasets import FoldersParams, MedMnistParams
from medscreen.config.privacy import is_public
from medscreen.reporting.curation_page.redaction import without_names

FILMS = FoldersParams(**FOLDERS)
MEDMNIST = MedMnistParams(kind="medmnist", root="", image_size=28, flag="pneumoniamnist", normal_labels=[0])
NAMES = ["normal/Mustermann-Erika.png", "ill/Mustermann-Erika-2.png", "ill/O'Neil Shaun.png", "ill/cut-Przybylski.png"]
AUDIT: dict[str, Any] = {
    "records": 5,
    "quarantined": [
        {"file": NAMES[0], "reason": "cannot identify image file 'Mustermann-Erika.png'"},
        {"file": NAMES[2], "reason": 'cannot identify image file "O\'Neil Shaun.png"'},
        {"file": NAMES[3], "reason": "cannot identify image file '/somewhere/cut-Przyby"},
        {"file": NAMES[1], "reason": "every pixel has the same gray value (3)"},
    ],
    "exact_duplicates": {"conflicting_labels": [{"files": NAMES[:2]}]},
    "near_duplicates": {"pairs": 1, "listed": [{"files": NAMES[1:3], "splits": ["train", "val"], "correlation": 0.98}]},
}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "scratch" / "names.key"


def test_names_of_patients_are_not_shown(key: Path) -> None:
    text = json.dumps(without_names(AUDIT, key))
    for part in ("Mustermann", "Erika", "Neil", "Shaun", "Przyb", "somewhere", "normal/"):
        assert part not in text


def test_only_what_shows_nobody_is_public() -> None:
    assert [is_public(dataset) for dataset in (PHANTOM, MEDMNIST, FILMS)] == [True, True, False]


def test_all_else_is_shown(key: Path) -> None:
    audit = without_names(AUDIT, key)
    assert audit["records"] == 5
    assert audit["quarantined"][3]["reason"] == "every pixel has the same gray value (3)"
    assert audit["quarantined"][0]["reason"].startswith("cannot identify image file")
    assert audit["near_duplicates"]["listed"][0]["splits"] == ["train", "val"]


def test_equal_names_have_equal_hashes_on_one_machine_only(key: Path) -> None:
    first, again = without_names(AUDIT, key), without_names(AUDIT, key)
    assert first == again
    copies, near = first["exact_duplicates"]["conflicting_labels"][0], first["near_duplicates"]["listed"][0]
    assert copies["files"][0] == first["quarantined"][0]["file"]
    assert copies["files"][1] == near["files"][0] != near["files"][1]
    key.unlink()
    assert without_names(AUDIT, key)["quarantined"][0]["file"] != first["quarantined"][0]["file"]


def test_the_key_is_for_its_owner_alone_and_out_of_git(key: Path) -> None:
    without_names(AUDIT, key)
    assert key.stat().st_mode & 0o077 == 0
    assert len(key.read_bytes()) == 32
    assert [path.name for path in key.parent.iterdir() if "key" in path.name] == ["names.key"]
