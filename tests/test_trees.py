"""Folders with what no data set should hold: `raw` and `curate` take the same files of them, and neither stops."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from factories import CURATION, FOLDERS, PARAMS_YAML, dicom, one_sentence, written
from medscreen.config.datasets import DicomParams, FoldersParams
from medscreen.config.params import load_params
from medscreen.data.curation.curation import curate
from medscreen.data.images import load_images, save_images
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.file_trees import files_below
from medscreen.errors import MedscreenError
from medscreen.pipeline.raw import raw
from medscreen.workspace.layout import Layout

FILMS = FoldersParams(**FOLDERS | {"image_size": 16, "patient_pattern": r"^(.+)\.png$"})


def films(root: Path, number: int = 40) -> Path:
    """Class folders, half of the names in Latin-1."""
    rng = np.random.default_rng(3)
    for at in range(number):
        folder = root / ("normal" if at % 2 else "sick")
        folder.mkdir(parents=True, exist_ok=True)
        name = b"M\xfcller-%d.png" if at % 4 < 2 else b"Miller-%d.png"
        Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(folder / os.fsdecode(name % at))
    return root


def listed(root: Path, workspace: Path) -> dict[str, str]:
    """What `raw` writes down of class folders."""
    content: dict[str, Any] = yaml.safe_load(PARAMS_YAML.read_text())
    content["datasets"]["films"] = FILMS.model_dump() | {"root": str(root)}
    content |= {"dataset": "films", "detectors": {"gradient": {"kind": "statistic", "variant": "gradient"}}}
    written(workspace / "params.yaml", yaml.safe_dump(content))
    layout = Layout(workspace, workspace)
    raw(layout, load_params(layout.params))
    files: dict[str, str] = json.loads(layout.raw.read_text())["files"]
    return files


def test_names_that_are_not_utf_8_are_read_and_named(tmp_path: Path) -> None:
    root = films(tmp_path / "films")
    records = sources.read_records(FILMS, root)
    names = {record.origin for record in records}
    assert {r"sick/M\xfcller-0.png", r"normal/M\xfcller-1.png", "sick/Miller-2.png"} <= names
    assert listed(root, tmp_path / "work").keys() == names
    curated = curate(records, 16, CURATION, 7, 1, tmp_path / "scratch")
    assert curated.audit["readable"] == curated.audit["patients"] == 40
    save_images(curated.images, np.arange(40), tmp_path / "all")
    assert set(load_images(tmp_path / "all").origins) == names


def test_a_class_folder_whose_name_is_not_utf_8_is_a_class(tmp_path: Path) -> None:
    root = films(tmp_path)
    (root / "sick").rename(root / os.fsdecode(b"gr\xf6\xdfer"))
    assert {record.finding for record in sources.read_records(FILMS, root)} == {"normal", r"gr\xf6\xdfer"}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    root = films(tmp_path / "films", 4)
    sick = root / "sick"
    (sick / "gone.png").symlink_to("nowhere.png")
    (sick / "circle.png").symlink_to("circle.png")
    os.mkfifo(sick / "pipe.png")
    (sick / "device.png").symlink_to("/dev/zero")
    (sick / "elsewhere.png").symlink_to(written(tmp_path / "secret.png", "of another data set"))
    (sick / "same.png").symlink_to(root / "sick" / "Miller-2.png")
    return root


ODD = {
    "links that lead nowhere": 2,
    "links that lead out of the data set": 2,
    "pipes, sockets or devices": 1,
}


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_of_the_data_set_is_set_aside_by_raw_and_curate_alike(
    odd: Path, tmp_path: Path, linked: bool
) -> None:
    root = odd
    if linked:  # the root itself may lie behind a link
        root = tmp_path / "link"
        root.symlink_to(odd)
    records = sources.read_records(FILMS, root)
    assert [Path(record.origin).name for record in records] == [
        "Miller-3.png", "M\\xfcller-1.png", "Miller-2.png", "M\\xfcller-0.png", "same.png"
    ]  # fmt: skip
    assert records.notes == ODD
    assert listed(root, tmp_path / "work").keys() == {record.origin for record in records}


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as held:
        held.bind("socket.png")
        assert files_below(tmp_path, tmp_path) == ([], {"pipes, sockets or devices": 1})


def test_folders_of_nothing_but_links_say_what_they_hold(odd: Path) -> None:
    for path in odd.rglob("*.png"):
        if not path.is_symlink():
            path.unlink()
    (odd / "sick" / "elsewhere.png").unlink()
    with pytest.raises(
        MedscreenError, match=r"holds no file \(3 links that lead nowhere, 1 links that lead out"
    ) as error:
        sources.find_files(FILMS, odd, 1)
    one_sentence(error)


def test_dicom_takes_the_same_files_in_raw_and_curate(tmp_path: Path) -> None:
    root = tmp_path / "export"
    params = DicomParams(
        kind="dicom", root="x", image_size=16, table="train.csv", images=".", normal_labels=[0], attributes={},
        columns={"patient": "who", "label": "hurt", "file": None}, slices={"take": "all"},
        display={"window": "file", "burned_in": "count"},
    )  # fmt: skip
    written(root / "train.csv", "who,hurt\nA1,0\nB2,1\nC3,1\n")
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for name in ("A1/1.dcm", "B2/1.dcm", "Z9/1.dcm"):
        (root / name).parent.mkdir()
        dicom(root / name, stored)
    os.mkfifo(root / "A1" / "pipe")
    (root / "A1" / "gone").symlink_to("nowhere")
    (root / "C3").symlink_to(root / "B2")  # as a patient's folder it would be read and not be listed by raw
    records = sources.read_records(params, root)
    assert [record.origin for record in records] == ["A1/1.dcm", "B2/1.dcm"]
    assert records.notes == {
        "linked folders, which are not followed": 1,
        "links that lead nowhere": 1,
        "pipes, sockets or devices": 1,
        "patients' folders without a row in the table": 1,
        "patients of the table without images": 1,
    }
    assert sources.find_files(params, root, 1) == [
        root / name for name in ("A1/1.dcm", "B2/1.dcm", "Z9/1.dcm", "train.csv")
    ]


def test_the_folder_of_images_may_lie_behind_a_link(tmp_path: Path) -> None:
    far, root = tmp_path / "far", tmp_path / "export"
    for patient in ("A1", "B2"):
        (far / patient).mkdir(parents=True)
        dicom(far / patient / "1.dcm", np.arange(256, dtype=np.uint16).reshape(16, 16))
    (far / "A1" / "same.dcm").symlink_to(far / "B2" / "1.dcm")
    root.mkdir()
    (root / "films").symlink_to(far)
    assert files_below(root / "films", root) == (
        [root / "films" / name for name in ("A1/1.dcm", "A1/same.dcm", "B2/1.dcm")], {}
    )  # fmt: skip


def test_a_pipe_called_labels_csv_is_no_table(odd: Path) -> None:
    os.mkfifo(odd / "labels.csv")
    assert sources.read_records(FILMS, odd).notes["pipes, sockets or devices"] == 2
