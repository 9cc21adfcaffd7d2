from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from factories import FOLDERS, one_sentence, real_data, written
from medscreen import sources
from medscreen.errors import MedscreenError
from medscreen.params import FoldersParams

TURNED = r"^(.+?)(?:-rotated\d+)*\.\w+$"  # the one of params.yaml


def tree(root: Path, *names: str) -> Path:
    for name in names:
        written(root / name, "x")
    return root


def records_of(root: Path, **changed: Any) -> sources.Records:
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


def test_names_of_files_say_whose_they_are(tmp_path: Path) -> None:
    root = tree(tmp_path, "normal/07_1.png", "normal/07_2.png", "sick/08_1.png", "sick/odd.png")
    records = records_of(root, patient_pattern=r"^(\d+)_")
    assert [record.patient for record in records] == ["07", "07", "08", None]
    assert records.notes == {"images whose patient is not known": 1}


def test_a_table_says_more_than_a_name(tmp_path: Path) -> None:
    root = tree(tmp_path, "normal/07_1.png", "sick/08_1.png")
    written(root / "labels.csv", "file,patient\nnormal/07_1.png,Q\nsick/gone.png,R\n")
    records = records_of(root, patient_pattern=r"^(\d+)_")
    assert [record.patient for record in records] == ["Q", "08"]
    assert records.notes == {"rows of labels.csv without a file": 1}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file,patient\nnormal/1.png,Q\nnormal/1.png,R\n", "line 3"),
        ("file\nnormal/1.png\n", "no column 'patient'"),
        ("file,patient\nnormal/1.png,Jörg\n".encode("latin-1"), "no UTF-8 text"),
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
    message = refusal(tree(tmp_path, "normal/a.png", "sick/b.png"), patient_pattern=r"^(\d+)_")
    assert "matches no file name" in message


@pytest.mark.parametrize("pattern", ["(", r"\d+_", r"(\d)(\d)"])
def test_a_pattern_has_to_have_one_group(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"regular expression|groups"):
        FoldersParams(**FOLDERS | {"patient_pattern": pattern})


def test_real_films_are_grouped_by_patient() -> None:
    records = records_of(real_data("chest_xray"), normal_classes=["NORMAL"], patient_pattern=r"^(\d+)_")
    patients = {split: {r.patient for r in records if r.split == split} for split in ("train", "val", "test")}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) < 180
    assert None not in set.union(*patients.values())
