"""`medscreen selftest`: the way from files to a decision outside any checkout."""

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from medscreen.cli import commands
from medscreen.detectors.shared import base
from medscreen.errors import MedscreenError

SELFTEST = import_module("medscreen.cli.selftest")  # the package has the command of this name


@pytest.mark.slow
def test_it_passes_outside_a_checkout_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = CliRunner().invoke(commands, ["selftest"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.count("\nok  ") == 5
    assert "selftest passed in" in done.output
    assert not list(tmp_path.glob("medscreen-*"))


@pytest.mark.slow
def test_a_package_that_scores_otherwise_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score = base.score
    monkeypatch.setattr(base, "score", lambda *arguments: score(*arguments) + 0.01)
    with pytest.raises(MedscreenError, match=r"packaged and trained scores differ by 0\.01"):
        list(SELFTEST._steps(tmp_path))


def test_what_is_missing_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = {name: state for name, state, _ in SELFTEST._installed()}
    assert found["git"] == found["psql"] == "missing"
    assert found["torch"] not in {"", "missing"}
