from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from factories import FOLDERS, dicom, one_sentence, real_data, written
from medscreen.config.datasets import FoldersParams
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.records import Records
from medscreen.errors import MedscreenError

TURNED = r"^(.+?)(?:-rotated\d+)*\.\w+$"  # the one of params.yaml


def tree(root: Path, *names: str) -> Path:
    for name in names:
        written(root / name, "x")
    return root


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(root / name)
    return root


def records_of(root: Path, **changed: Any) -> Records:
    return sources.read_records(FoldersParams(**FOLDERS | changed), root)


def refusal(root: Path, **changed: Any) -> str:
    with pytest.raises(MedscreenError) as error:
        records_of(root, **changed)
    return one_sentence(error)


@pytest.mark.parametrize(
    "folders",
    [("Train", "VALID", "Test"), ("training", "validation", "testing"), ("TRAIN", "val", "test")],
)
def test_published_splits_have_many_names(tmp_path: Path, folders: tuple[str, str, str]) -> None:
    root = tree(tmp_path, *(f"{folder}/{name}/1.png" for folder in folders for name in ("Normal", "sick")))
    found = {(Path(r.origin).parts[0], r.split, r.label) for r in records_of(root)}
    assert found == {(f, s, k) for f, s in zip(folders, ("train", "val", "test"), strict=True) for k in (0, 1)}
    assert {record.split for record in records_of(root, published_splits="discard")} == {None}


def test_two_folders_for_one_split_are_a_sentence(tmp_path: Path) -> None:
    message = refusal(
        tree(tmp_path, "train/normal/1.png", "val/normal/1.png", "valid/normal/2.png", "test/normal/1.png")
    )
    assert "two folders for val, val and valid" in message


def test_splits_that_are_not_all_there_can_be_discarded(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/normal/1.png", "test/sick/1.png")
    assert "none called val/" in (message := refusal(root))
    assert "published_splits: discard" in message
    assert [(r.label, r.split) for r in records_of(root, published_splits="discard")] == [(1, None), (0, None)]


def test_what_systems_leave_behind_is_no_image_and_is_counted(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "normal/1.png", "sick/2.jpg", "normal/Thumbs.db", "sick/thumbs.DB", "sick/desktop.ini", ".DS_Store",
        "normal/.DS_Store", "__MACOSX/normal/._1.png", "sick/._2.jpg", "README.txt",
    )  # fmt: skip
    records = records_of(root)
    assert [record.origin for record in records] == ["normal/1.png", "sick/2.jpg"]
    assert records.notes == {
        "Thumbs.db": 2,
        "desktop.ini": 1,
        ".DS_Store": 2,
        "__MACOSX": 1,
        "hidden files or folders": 1,
        "files outside the class folders": 1,
    }


def test_a_link_to_a_folder_is_not_followed_and_is_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "normal/1.png", "sick/2.png")
    (root / "sick" / "round").symlink_to(root)
    records = records_of(root)
    assert [record.origin for record in records] == ["normal/1.png", "sick/2.png"]
    assert records.notes == {"linked folders, which are not followed": 1}


def test_a_page_saved_as_an_image_stays_a_record_so_that_it_is_named(tmp_path: Path) -> None:
    written(tree(tmp_path, "normal/1.png") / "sick" / "2.jpg", "<!DOCTYPE html>")
    assert [record.origin for record in records_of(tmp_path)] == ["normal/1.png", "sick/2.jpg"]


@pytest.mark.parametrize("published", ["keep", "discard"])
@pytest.mark.parametrize("splits", [("",), ("train/", "val/", "test/")])
def test_names_of_files_say_whose_they_are(tmp_path: Path, splits: tuple[str, ...], published: str) -> None:
    names = ("normal/07_1.png", "normal/07_2.png", "sick/08_1.png")
    pictures(tmp_path, *(split + name for split in splits for name in names))
    by_name = {"patient_pattern": r"^(\d+)_", "published_splits": published}
    assert [record.patient for record in records_of(tmp_path, **by_name)] == ["07", "07", "08"] * len(splits)
    pictures(tmp_path, f"{splits[-1]}sick/odd.png")
    message = refusal(tmp_path, **by_name)
    assert f"no patient in the names of 1 of the {3 * len(splits) + 1} files" in message
    assert "odd" not in message
    records = records_of(tmp_path, **by_name | {"patient_pattern": r"^(\d+_|.+)"})  # as the message says
    assert {record.patient for record in records} == {"07_", "08_", "odd.png"}


def test_a_group_that_is_empty_is_no_patient(tmp_path: Path) -> None:
    pictures(tmp_path, "normal/1_a.png", "normal/a.png", "sick/b.png")
    assert "of 2 of the 3 files" in refusal(tmp_path, patient_pattern=r"^(\d*)")


def test_what_is_no_image_needs_no_patient(tmp_path: Path) -> None:
    pictures(tmp_path, "normal/07_1.png", "sick/08_1.png")
    written(tmp_path / "sick" / "download.jpg", "<html>moved</html>")
    records = records_of(tmp_path, patient_pattern=r"^(\d+)_")
    assert [record.patient for record in records] == ["07", "08", None]
    written(tmp_path / "labels.csv", "file,patient\nnormal/07_1.png,Q\nsick/08_1.png,R\n")
    assert [record.patient for record in records_of(tmp_path)] == ["Q", "R", None]
    dicom(tmp_path / "sick" / "film", np.arange(256, dtype=np.uint16).reshape(16, 16))
    assert "has no patient for 1 of the 4 files" in refusal(tmp_path)


@pytest.mark.parametrize("published", ["keep", "discard"])
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["normal/1.png,Q", "sick/2.png,R", "sick/3.png,Q"], None),
        (["normal/1.png,Q", "gone.png,S", "sick/2.png,R", "sick/3.png,Q"], None),
        (["1.png,Q", "2.png,R", "3.png,Q"], "no patient for 3 of the 3 files in class folders (line 2 names a file"),
        (["normal/1.png,NA", "sick/2.png,n/a", "sick/3.png,Q"], "lines 2 and 3: its patient stands for a missing"),
        (["normal/1.png,Q", "sick/2.png,R"], "no patient for 1 of the 3 files in class folders. Add a row"),
        (
            ["normal/1.png,Q", "sick/2.png,", "sick/3.png,Q"],
            "no patient for 1 of the 3 files in class folders (line 3 has no",
        ),
        (["normal/1.png,Q", "sick/2.png,R", "sick/03.png,R"], "1 of the 3 files in class folders (line 4"),
    ],
)
def test_a_table_says_of_all_images_whose_they_are_or_is_refused(
    tmp_path: Path, rows: list[str], says: str | None, published: str
) -> None:
    pictures(tmp_path, "normal/1.png", "sick/2.png", "sick/3.png")
    written(tmp_path / "labels.csv", "\n".join(["file,patient", *rows]))
    if says is None:
        assert [record.patient for record in records_of(tmp_path, published_splits=published)] == ["Q", "R", "Q"]
        gone = {"rows of labels.csv without a file": 1} if len(rows) > 3 else {}
        assert records_of(tmp_path, published_splits=published).notes == gone
    else:
        assert says in (message := refusal(tmp_path, published_splits=published))
        assert "03.png" not in message


def test_a_table_names_files_in_either_form(tmp_path: Path) -> None:
    pictures(tmp_path, "normal/u\u0308.png", "sick/\u00fc.png")
    written(tmp_path / "labels.csv", "file,patient\nnormal/\u00fc.png,P\nsick/u\u0308.png,Q\n")
    assert [record.patient for record in records_of(tmp_path)] == ["P", "Q"]


def test_a_table_and_a_pattern_are_one_too_many(tmp_path: Path) -> None:
    pictures(tmp_path, "normal/07_1.png", "sick/08_1.png")
    written(tmp_path / "labels.csv", "file,patient\nnormal/07_1.png,A\nsick/08_1.png,B\n")
    message = refusal(tmp_path, patient_pattern=r"^(\d+)_")
    assert "labels.csv and patient_pattern in params.yaml both name patients" in message
    assert "set patient_pattern to null" in message


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file,patient\nnormal/1.png,Q\nnormal/1.png,R\n", "line 3"),
        ("file\nnormal/1.png\n", "no column 'patient'"),
        ("file,patient\nnormal/1.png,Jörg\n".encode("latin-1"), "not UTF-8 text"),
    ],
)
def test_a_table_that_can_not_be_meant_is_a_sentence(tmp_path: Path, table: str | bytes, says: str) -> None:
    written(tree(tmp_path, "normal/1.png", "sick/1.png") / "labels.csv", table)
    assert says in refusal(tmp_path)


def test_turned_copies_of_a_film_are_one_patients(tmp_path: Path) -> None:
    names = ("10.jpg", "10-rotated1.jpg", "10-rotated1-rotated2.jpg", "10-rotated3.png", "11-rotated1.jpg", "1.jpg")
    records = records_of(tree(tmp_path, *(f"normal/{name}" for name in names)), patient_pattern=TURNED)
    assert {Path(r.origin).name: r.patient for r in records} == dict(
        zip(names, ["10", "10", "10", "10", "11", "1"], strict=True)
    )


def test_a_pattern_that_matches_nothing_is_a_sentence(tmp_path: Path) -> None:
    message = refusal(pictures(tmp_path, "normal/a.png", "sick/b.png"), patient_pattern=r"^(\d+)_")
    assert "no patient in the names of 2 of the 2 files" in message


def test_folders_that_are_no_classes_are_not_listed(tmp_path: Path) -> None:
    tree(tmp_path, *(f"DOE_{number}/1.png" for number in range(11)))
    assert "(it has 11 folders, too many for classes)" in (message := refusal(tmp_path))
    assert "DOE" not in message
    (tmp_path / "DOE_10" / "1.png").unlink()
    assert "DOE_0, DOE_1, DOE_2" in refusal(tmp_path)


@pytest.mark.parametrize("pattern", ["(", r"\d+_", r"(\d)(\d)"])
def test_a_pattern_has_to_have_one_group(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"regular expression|groups"):
        FoldersParams(**FOLDERS | {"patient_pattern": pattern})


def test_real_films_are_grouped_by_patient() -> None:
    records = records_of(real_data("chest_xray"), normal_classes=["NORMAL"], patient_pattern=r"^(\d+)_")
    patients = {split: {r.patient for r in records if r.split == split} for split in ("train", "val", "test")}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) < 180
    assert None not in set.union(*patients.values())
