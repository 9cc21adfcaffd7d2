"""Maps of a real repro on the phantom, whose lesions are known."""

import json
from pathlib import Path

import pytest

from conftest import run
from medscreen.workspace.layout import Layout

# at the sample's 32 pixels and few films, the interval of the CNN's pointing game (.09) reaches down to chance
GAMES = [("autoencoder", "pointing_game"), ("autoencoder", "energy_inside"), ("cnn", "energy_inside")]


@pytest.mark.parametrize(("detector", "game"), GAMES)
@pytest.mark.parametrize("rival", ["over_chance", "over_center_blob"])
def test_the_map_points_at_lesions_more_often_than_chance_and_a_blob(
    finished: Path, detector: str, game: str, rival: str
) -> None:
    report = json.loads(Layout(finished, finished).explanations(detector).read_text())
    assert report["localization"][game][rival]["low"] > 0, report["localization"]
    assert report["randomization"]["rank_correlation"]["high"] < 0.5


def test_the_cohort_report_is_of_the_results_that_dvc_locked(copied: Path) -> None:
    done = run(copied, "medscreen", "report", "--cohort")
    assert done.returncode == 0, done.stderr
    page = (copied / "cohort-report.html").read_text()
    assert "phantom (simulated data)" in page
    assert run(copied, "git", "status", "--porcelain", "--", "*.html").stdout == ""
    (copied / "reports" / "figures" / "cnn" / "roc.png").write_bytes(b"another")
    done = run(copied, "medscreen", "report", "--cohort")
    assert done.returncode == 2
    assert "reports/figures: damaged or changed by hand" in done.stderr
    (copied / "reports" / "detectors" / "cnn" / "evaluation.json").unlink()
    assert "reports/detectors/cnn/evaluation.json" in run(copied, "medscreen", "report", "--cohort").stderr
    assert (copied / "cohort-report.html").read_text() == page
