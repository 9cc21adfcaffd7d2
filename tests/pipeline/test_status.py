"""What a changed comment makes stale, by `dvc status` after a repro."""

import json
from pathlib import Path

import pytest

from conftest import SAMPLE, run

LOOKS_EVERY_TIME = {"raw", "publish"}
CALIBRATES = {f"calibrate@{name}" for name in SAMPLE}
TRAINS = {f"fit@{name}" for name in SAMPLE}


def stale(project: Path) -> set[str]:
    done = run(project, "dvc", "status", "--json")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout)) - LOOKS_EVERY_TIME


def test_nothing_is_stale_after_a_repro(finished: Path) -> None:
    assert stale(finished) == set()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("detectors/cnn/detector.py", {"fit@cnn"}),
        ("detectors/autoencoder/elbo.py", {"fit@autoencoder"}),
        ("detectors/patches/coreset.py", set()),
        ("detectors/shared/training.py", TRAINS),
        ("operating/threshold_policies.py", CALIBRATES | {"evaluate"}),
        ("evaluation/bootstrap.py", {"curate", "evaluate"}),
        ("data/curation/splits.py", {"curate"}),
        ("reporting/evaluation_report/canvas.py", {"evaluate"}),
        ("reporting/leaderboard.py", set()),
        ("reporting/model_card/card.py", set()),
        ("reporting/curation_page/curation_page.md.j2", {"curate"}),
        ("reporting/model_card/model_card.md.j2", set()),
        ("registry/gate.py", set()),
        ("studies/search.py", set()),
        ("cli/predict.py", set()),
        ("config/studies.py", set()),
        ("pipeline/progress_bar.py", set()),
        ("tracking/runs.py", set()),
    ],
)
def test_a_changed_comment_makes_stale_what_runs_through_it(finished: Path, file: str, expected: set[str]) -> None:
    path = finished / "src" / "medscreen" / file
    content = path.read_text()
    path.write_text(content + "# a comment\n")
    try:
        assert stale(finished) == expected
    finally:
        path.write_text(content)
