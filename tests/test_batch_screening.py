"""Screening of folders into a result file: one row an image, whatever happens on the way."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from medscreen.cli.predict import predict
from medscreen.errors import MedscreenError
from medscreen.packaging.batch_screening import COLUMNS, FILES_AT_ONCE, screen_files
from medscreen.packaging.result_file import ResultFile
from medscreen.packaging.screened_files import ImageOfFile, decoded
from medscreen.registry.stage_package import package_in_stage
from medscreen.workspace.layout import Layout
from workspaces import MODEL, SIZE, film

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
ABOUT = {"model": MODEL, "version": "1", "package_digest": "abc", "display": "{}"}


@pytest.fixture
def home(workspace: Layout, loaded_registry: Callable[[Path], None]) -> Path:
    loaded_registry(workspace.home)
    return workspace.home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Enough files for several tasks, one of them unreadable."""
    films = tmp_path / "films"
    films.mkdir()
    for number in range(3 * FILES_AT_ONCE):
        Image.fromarray(film(number, number % 2)).save(films / f"{number:03}.png")
    (films / "040.png").write_bytes(b"\x89PNG")
    return films


def row(name: str, frame: int | None = None) -> dict[str, object]:
    return dict.fromkeys(COLUMNS) | {"file": name, "frame": frame, "status": "screened", "reason": "", "score": 0.5}


def test_workers_give_the_rows_of_one_process_in_the_order_of_the_files(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, graph = sorted(folder.iterdir()), package_in_stage(MODEL, "Production").graph
    monkeypatch.setattr("medscreen.packaging.batch_screening.available_cpus", lambda: 1)
    alone = [row for rows in screen_files(files, graph, False) for of_file in rows for row in of_file]
    monkeypatch.setattr("medscreen.packaging.batch_screening.available_cpus", lambda: 2)
    assert [row for rows in screen_files(files, graph, False) for of_file in rows for row in of_file] == alone
    assert [row["file"] for row in alone] == [file.as_posix() for file in files]
    assert [row["file"][-7:] for row in alone if row["status"] == "unreadable"] == ["040.png"]
    assert all(list(row) == list(COLUMNS) for row in alone)


def test_every_format_holds_the_same_rows_with_version_and_settings(home: Path, folder: Path, tmp_path: Path) -> None:
    package = package_in_stage(MODEL, "Production")
    found = {}
    for suffix in ("csv", "jsonl", "parquet"):
        result = CliRunner().invoke(predict, [str(folder), "--name", MODEL, "--out", str(tmp_path / f"rows.{suffix}")])
        assert (result.exit_code, "1 not screened" in result.stdout, str(package) in result.stdout) == (1, True, True)
        assert not (tmp_path / f"rows.{suffix}.unfinished").exists()
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        found["csv"] = [(row["file"], row["score"] and float(row["score"])) for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert lines == table
    assert found["csv"] == [(row["file"], "" if row["score"] is None else row["score"]) for row in lines]
    for each in lines:
        assert (each["version"], each["package_digest"]) == (str(package.version), package.digest)
        assert json.loads(each["display"])["window"]
    assert lines[40]["status"] == "unreadable"
    assert lines[40]["reason"]


@pytest.mark.slow
def test_killed_ten_times_no_row_is_lost_or_doubled(home: Path, folder: Path, tmp_path: Path) -> None:
    for number in range(3 * FILES_AT_ONCE, 40 * FILES_AT_ONCE):
        Image.fromarray(film(number, 0)).save(folder / f"{number:04}.png")
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "medscreen", "predict", str(folder), "--name", MODEL, "--out", str(out)]
    rng, kills = np.random.default_rng(1), 0
    journal = out.with_name("rows.jsonl.unfinished")
    while kills < 10:
        process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        size = journal.stat().st_size if journal.exists() else 0
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > size):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
        if journal.exists():  # as if the last write had been cut, too
            content = journal.read_bytes()
            whole = content.index(b"\n") + 1  # the first line is written in one step
            journal.write_bytes(content[: max(whole, len(content) - int(rng.integers(0, 400)))])
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["file"] for row in rows] == [file.as_posix() for file in sorted(folder.iterdir())]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in "abc"]
    for file in found:
        file.write_text(file.name)
    return found


def result_in(folder: Path, version: str = "1", raw: str = "False") -> ResultFile:
    return ResultFile(folder / "rows.csv", ABOUT | {"version": version}, {"for_processing": raw})


def test_a_journal_goes_on_before_its_last_file(tmp_path: Path, files: list[Path]) -> None:
    result = result_in(tmp_path)
    assert result.resume(files) == 0
    result.add(0, [[row("a")], [row("b", 0), row("b", 1)]])
    with result.journal.open("ab") as file:
        file.write(b'[2, {"file": "c", "sco')
    assert result.resume(files) == 1
    assert [found["file"] for found in result.rows()] == ["a"]
    result.add(1, [[row("b", 0), row("b", 1)], [row("c")]])
    result.finish(lambda _: None)
    assert (tmp_path / "rows.csv").read_text().count("\n") == 5
    assert not result.journal.exists()


def test_a_journal_of_another_version_setting_or_file_is_kept_and_refused(tmp_path: Path, files: list[Path]) -> None:
    result = result_in(tmp_path)
    result.resume(files)
    result.add(0, [[row("a")], [row("b")]])
    before = result.journal.read_bytes()
    for other, given, differs in (
        (result_in(tmp_path, version="2"), files, "version"),
        (result_in(tmp_path, raw="True"), files, "for_processing"),
        (result, files[:2], "files"),
    ):
        with pytest.raises(MedscreenError, match=f"begun with different {differs}.*Remove it"):
            other.resume(given)
    files[1].write_text("another content")
    with pytest.raises(MedscreenError, match="begun with different files"):
        result.resume(files)
    assert result.journal.read_bytes() == before
    files[1].unlink()


def test_a_damaged_journal_is_refused(tmp_path: Path, files: list[Path]) -> None:
    result = result_in(tmp_path)
    result.resume(files)
    for damage in (b"{}\n", b"[]\n", b"nonsense\n"):
        content = result.journal.read_bytes()
        result.journal.write_bytes(content + damage)
        with pytest.raises(MedscreenError, match="damaged"):
            result.resume(files)
        result.journal.write_bytes(content)


def test_nothing_that_exists_is_overwritten_and_the_result_is_no_input(home: Path, folder: Path) -> None:
    out = folder / "rows.csv"
    for _ in range(2):
        result = CliRunner().invoke(predict, [str(folder), str(folder / "001.png"), "--name", MODEL, "--out", str(out)])
        if out.exists() and isinstance(result.exception, MedscreenError):
            break
        assert len(out.read_text().splitlines()) == 1 + 3 * FILES_AT_ONCE
    assert "exists. Remove it" in str(result.exception)
    before = out.read_bytes()
    out.with_name("rows.csv.unfinished").write_bytes(b"{}\n")
    assert "begun with" in str(CliRunner().invoke(predict, [str(folder), "--name", MODEL, "--out", str(out)]).exception)
    assert out.read_bytes() == before


def test_a_file_that_ends_its_process_has_a_row(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashing(image: ImageOfFile, *arguments: Any) -> Any:
        if image.path.name == "070.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return decoded(image, *arguments)

    monkeypatch.setattr("medscreen.packaging.batch_screening.decoded", crashing)
    monkeypatch.setattr("medscreen.packaging.batch_screening.available_cpus", lambda: 2)
    found = screen_files(sorted(folder.iterdir()), package_in_stage(MODEL, "Production").graph, False)
    rows = [row for rows in found for of_file in rows for row in of_file]
    assert [Path(row["file"]).name for row in rows] == [file.name for file in sorted(folder.iterdir())]
    assert [row["reason"] for row in rows if row["status"] != "screened"][1:] == ["the decoder crashed"]


@pytest.mark.parametrize(
    ("out", "reason"),
    [("rows.txt", r"\.csv, \.jsonl, \.parquet"), ("nowhere/rows.csv", "is not a folder"), ("rows", "unknown format")],
)
def test_a_result_that_cannot_be_written_is_a_sentence(tmp_path: Path, out: str, reason: str) -> None:
    with pytest.raises(MedscreenError, match=reason):
        ResultFile(tmp_path / out, ABOUT, {})


def test_a_batch_unlike_the_training_images_is_told(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    for seed in range(12):
        pixels = np.random.default_rng(seed).integers(2, 256, (SIZE, SIZE)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    result = CliRunner().invoke(predict, [str(folder), "--name", MODEL])
    assert "12 of 12 images are outside the training data" in result.stderr
    assert "threshold may not hold" in result.stderr
    result = CliRunner().invoke(predict, [str(folder), "--name", MODEL, "--json", "--out", "x.csv"])
    assert ".jsonl" in str(result.exception)
