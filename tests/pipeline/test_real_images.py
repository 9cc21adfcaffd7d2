"""`dvc repro` on images as hospitals, Kaggle and MedMNIST hand them over."""

import json
import subprocess
from pathlib import Path
from typing import Any

from conftest import new_project, repro

# 10 patients, 5 of each class: tenths of them are less than one of both
FEW_PATIENTS = {f"curation.{split}_fraction": 0.2 for split in ("tune", "val", "test")}


def audit_of(folder: Path, dataset: str, changes: dict[str, Any]) -> dict[str, Any]:
    """What curation says after a whole repro with the quickest detector."""
    project = new_project(
        folder / "project", {"dataset": dataset, "evaluation.resamples": 100, **changes}, roster=["gradient"]
    )
    repro(project)
    assert (project / "reports" / "figures" / "gradient" / "operating.png").is_file()
    evaluation = json.loads((project / "reports" / "detectors" / "gradient" / "evaluation.json").read_text())
    assert 0 <= evaluation["test"]["auroc"]["value"] <= 1
    audit: dict[str, Any] = json.loads((project / "reports" / "curation.json").read_text())
    return audit


def images(audit: dict[str, Any]) -> dict[str, int]:
    return {name: split["images"] for name, split in audit["splits"].items()}


def test_dicom_in_the_layout_of_rsna_2023(test_data: Path, tmp_path: Path) -> None:
    entry = "datasets.rsna-2023-abdominal-trauma"
    changes = {
        f"{entry}.root": str(test_data.resolve() / "rsna_layout_standin"),
        f"{entry}.slices": {"take": "spaced", "number": 3},
        **FEW_PATIENTS,
    }
    audit = audit_of(tmp_path, "rsna-2023-abdominal-trauma", changes)
    assert audit["records"] == audit["readable"] == 12 * 3
    assert audit["source_notes"] == {"slices of series that were not taken": 66 - 36}
    assert audit["patients"] == 10
    assert {name: split["patients"] for name, split in audit["splits"].items()} == {
        "train": 4, "tune": 2, "val": 2, "test": 2,
    }  # fmt: skip
    assert audit["leaks"] == {}


def test_class_folders_whose_files_name_the_patient(test_data: Path, tmp_path: Path) -> None:
    audit = audit_of(tmp_path, "chest-xray", {"datasets.chest-xray.root": str(test_data.resolve() / "chest_xray")})
    assert audit["source_notes"] == {}
    assert audit["readable"] == 180
    assert audit["patients"] < 180
    assert (images(audit)["val"], images(audit)["test"]) == (20, 40)
    assert audit["leaks"] == {}


def test_class_folders_without_splits(test_data: Path, tmp_path: Path) -> None:
    entry = {
        "kind": "folders", "root": str(test_data.resolve() / "brain_mri_br35h"), "image_size": 64,
        "normal_classes": ["no"], "patient_pattern": None, "published_splits": "keep",
    }  # fmt: skip
    audit = audit_of(tmp_path, "brain", {"datasets.brain": entry})
    assert audit["records"] == 300
    assert sum(images(audit).values()) == audit["readable"] - audit["exact_duplicates"]["dropped"]
    # names of files are in data/, which nobody commits, and reach neither git nor MLflow
    project = tmp_path / "project"
    listed = json.loads((project / "data" / "curation.json").read_text())["near_duplicates"]["listed"]
    names = {name for pair in listed for name in pair["files"]}
    assert any(name.startswith("yes/") for name in names)
    # reports/predictions names them too: DVC keeps it, git ignores it
    listing = subprocess.check_output(
        ["git", "ls-files", "--others", "--exclude-standard", "reports"], cwd=project, text=True
    )
    committed = [project / line for line in listing.splitlines()]
    assert project / "reports" / "curation.json" in committed
    assert not any({"predictions", "figures"} & set(path.parts) for path in committed)
    assert len(list((project / "reports" / "figures").glob("*/cases.png"))) > 0
    kept = committed + [path for path in (project / "mlruns" / "artifacts").rglob("*") if path.is_file()]
    assert not any(name.encode() in path.read_bytes() for path in kept for name in names)
    assert not any(path.name in {"curation.html", "cases.png"} for path in kept)


def test_a_medmnist_file_of_ones_own(test_data: Path, tmp_path: Path) -> None:
    entry = {
        "kind": "medmnist", "root": str(test_data.resolve() / "medmnist"), "image_size": 64,
        "flag": "derived_nihchest_64", "normal_labels": [0],
    }  # fmt: skip
    audit = audit_of(tmp_path, "nih", {"datasets.nih": entry})
    assert sum(images(audit).values()) == 180
    assert (images(audit)["val"], images(audit)["test"]) == (20, 40)
