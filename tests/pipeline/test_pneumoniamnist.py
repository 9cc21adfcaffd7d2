import csv
import json
from pathlib import Path

from conftest import new_project, repro


def test_the_road_on_real_films(test_data: Path, tmp_path: Path) -> None:
    root = test_data.resolve() / "medmnist"
    project = new_project(
        tmp_path / "project", {"dataset": "pneumoniamnist", "datasets.pneumoniamnist.root": str(root)}, roster=()
    )
    log = repro(project)
    audit = json.loads((project / "reports" / "curation.json").read_text())
    assert audit["exact_duplicates"]["within"] == {"test": 3, "train": 18}
    assert audit["exact_duplicates"]["across"] == {"train+val": 8}
    assert audit["splits"]["val"]["images"] == 524
    assert audit["splits"]["test"]["images"] == 624
    with (project / "reports" / "leaderboard.csv").open(newline="") as file:
        leaderboard = {row["detector"]: row for row in csv.DictReader(file)}
    assert set(leaderboard) == {"gradient", "intensity", "entropy", "autoencoder", "hog", "embedding", "cnn"}
    assert float(leaderboard["cnn"]["test/auroc"]) >= 0.95, log
    assert leaderboard["cnn"]["verdict"] == "promoted"
    balanced = json.loads((project / "reports" / "detectors" / "autoencoder" / "evaluation.json").read_text())["test"][
        "balanced_view"
    ]
    assert 0 < balanced["accuracy"]["low"] < balanced["accuracy"]["value"] < balanced["accuracy"]["high"] < 1
