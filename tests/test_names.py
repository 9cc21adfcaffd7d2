"""What MLflow is shown of the curation: names of files only where nobody is in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from factories import FOLDERS, PHANTOM
from medscreen.layout import Layout
from medscreen.params import FoldersParams, MedMnistParams
from medscreen.tracking.names import shown_curation

FILMS = FoldersParams(**FOLDERS)
MEDMNIST = MedMnistParams(kind="medmnist", root="", image_size=28, flag="pneumoniamnist", normal_labels=[0])
NAMES = ["normal/Mustermann-Erika.png", "ill/Mustermann-Erika-2.png", "ill/O'Neil Shaun.png", "ill/cut-Przybylski.png"]
AUDIT: dict[str, Any] = {
    "records": 5,
    "quarantined": [
        {"file": NAMES[0], "reason": "cannot identify image file 'Mustermann-Erika.png'"},
        {"file": NAMES[2], "reason": 'cannot identify image file "O\'Neil Shaun.png"'},
        {"file": NAMES[3], "reason": "cannot identify image file '/somewhere/cut-Przyby"},
        {"file": NAMES[1], "reason": "every pixel has the same grey value (3)"},
    ],
    "exact_copies": {"conflicting_labels": [{"files": NAMES[:2]}]},
    "near_copies": {"pairs": 1, "listed": [{"files": NAMES[1:3], "splits": ["train", "val"], "correlation": 0.98}]},
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, tmp_path)
    for path in (layout.curation_report, layout.curation_page):
        path.parent.mkdir(parents=True, exist_ok=True)
    layout.curation_report.write_text(json.dumps(AUDIT))
    layout.curation_page.write_text("<p>pictures</p>")
    return layout


def shown(layout: Layout) -> dict[str, Any]:
    (path,) = shown_curation(layout, FILMS)
    assert path.name == "curation.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize("dataset", [PHANTOM, MEDMNIST])
def test_what_shows_nobody_is_shown_with_its_page(layout: Layout, dataset: Any) -> None:
    assert shown_curation(layout, dataset) == [layout.curation_report, layout.curation_page]


def test_a_checkout_without_the_page_shows_the_audit(layout: Layout) -> None:
    layout.curation_page.unlink()
    assert shown_curation(layout, PHANTOM) == [layout.curation_report]


def test_names_and_pictures_of_patients_are_not_shown(layout: Layout) -> None:
    text = json.dumps(shown(layout))
    for part in ("Mustermann", "Erika", "Neil", "Shaun", "Przyb", "somewhere", "normal/"):
        assert part not in text


def test_all_else_is_shown(layout: Layout) -> None:
    audit = shown(layout)
    assert audit["records"] == 5
    assert audit["quarantined"][3]["reason"] == "every pixel has the same grey value (3)"
    assert audit["quarantined"][0]["reason"].startswith("cannot identify image file")
    assert audit["near_copies"]["listed"][0]["splits"] == ["train", "val"]


def test_equal_names_have_equal_hashes_on_one_machine_only(layout: Layout, tmp_path: Path) -> None:
    first, again = shown(layout), shown(layout)
    assert first == again
    copies, near = first["exact_copies"]["conflicting_labels"][0], first["near_copies"]["listed"][0]
    assert copies["files"][0] == first["quarantined"][0]["file"]
    assert copies["files"][1] == near["files"][0] != near["files"][1]
    (layout.scratch / "names.key").unlink()
    assert shown(layout)["quarantined"][0]["file"] != first["quarantined"][0]["file"]


def test_the_key_is_for_its_owner_alone_and_out_of_git(layout: Layout) -> None:
    shown(layout)
    key = layout.scratch / "names.key"
    assert key.stat().st_mode & 0o077 == 0
    assert len(key.read_bytes()) == 32
    assert [path.name for path in layout.scratch.iterdir() if "key" in path.name] == ["names.key"]
