"""`medscreen verify` on a finished project: what only DVC can lose."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import number_of, run

DETECTOR = "autoencoder"


def report_of(project: Path, status: int) -> dict[str, list[str]]:
    """Status -> what verify says of DVC's objects."""
    done = run(project, "medscreen", "verify", number_of(project, DETECTOR), "--json")
    assert done.returncode == status, done.stdout + done.stderr
    findings = json.loads(done.stdout[done.stdout.index("{") :])["findings"]
    by_status: dict[str, list[str]] = {"matches": [], "changed": [], "unreachable": []}
    for finding in findings:
        if finding["subject"] == "DVC objects":
            by_status[finding["status"]].append(finding["says"])
        else:
            assert finding["status"] == "matches", finding
    return by_status


def cached(project: Path, path: str) -> Path:
    """Where DVC's cache has an output of the chain."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"].values()
    digest = next(out["md5"] for stage in stages for out in stage.get("outs", []) if out["path"] == path)
    return project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def test_nothing_has_changed_after_a_repro(copied: Path) -> None:
    found = report_of(copied, 0)
    assert len(found["matches"]) == 1
    assert not found["changed"]
    assert not found["unreachable"]


def test_removed_and_damaged_objects_are_named(copied: Path) -> None:
    cached(copied, f"models/{DETECTOR}/detector.onnx").unlink()
    folder = cached(copied, "data/curated/development")
    inside = json.loads(folder.read_text())[0]["md5"]
    (folder.parent.parent / inside[:2] / inside[2:]).unlink()
    operating = cached(copied, f"models/{DETECTOR}/development.parquet")
    operating.chmod(0o644)
    operating.write_text("{}")
    cached(copied, "models/cnn/detector.onnx").unlink()  # of another version
    changed = sorted(report_of(copied, 1)["changed"])
    assert [line.partition(":")[0] for line in changed] == [
        "data/curated/development",
        f"models/{DETECTOR}/detector.onnx",
        f"models/{DETECTOR}/development.parquet",
    ]
    assert ": 1 missing in" in changed[0]
    assert ": 1 damaged in" in changed[2]


@pytest.mark.parametrize("remote", ["full", "gone", "none"])
def test_an_empty_cache_is_made_up_for_by_the_remote_alone(copied: Path, tmp_path: Path, remote: str) -> None:
    store = tmp_path / "remote"
    if remote != "none":
        subprocess.run(["dvc", "remote", "add", "-q", "-d", "store", str(store)], cwd=copied, check=True)
    if remote == "full":
        done = run(copied, "dvc", "push", "-q")
        assert done.returncode == 0, done.stderr
    if remote == "gone":
        address = "http://127.0.0.1:9/nobody"  # the port where nothing listens
        subprocess.run(["dvc", "remote", "modify", "-q", "store", "url", address], cwd=copied, check=True)
    shutil.rmtree(copied / ".dvc" / "cache")
    found = report_of(copied, 1 if remote == "none" else 0)
    if remote == "full":
        assert "only in the remote" in found["matches"][0]
    elif remote == "gone":
        assert all("DVC's remote store can't be reached" in line for line in found["unreachable"])
        assert found["unreachable"]
    else:
        assert any(line.startswith("data/raw.json: ") for line in found["changed"])
