import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom.config import disable_value_validation

from factories import dicom, unstated, written
from medscreen import load_detector
from medscreen.cli.predict import predict
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.load_image import read_grey
from medscreen.registry.versions import version_in_stage
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from tiff_files import Form, tiff
from workspaces import DISPLAY, MODEL, SIZE

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


def test_predict_shows_dicom_as_the_training_did(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    stored = np.random.default_rng(2).integers(900, 2400, (SIZE, SIZE)).astype(np.uint16)
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 80}
    film = dicom(tmp_path / "film.dcm", stored, **ct)
    radiograph = dicom(tmp_path / "radiograph.dcm", stored, Modality="CR")
    result = CliRunner().invoke(predict, [str(film), str(radiograph), "--name", MODEL, "--json"])
    detector = load_detector(MODEL)
    assert detector.display == DISPLAY
    as_trained, as_filed = (detector.screen(read_grey(film, how)[None]).score[0] for how in (DISPLAY, FILE_DISPLAY))
    row, refused = json.loads(result.stdout)
    assert row["score"] == as_trained != as_filed
    assert (refused["status"], refused["score"]) == ("unreadable", None)
    assert "Hounsfield" in refused["reason"]
    assert "Hounsfield" in result.stderr
    assert result.exit_code == 1


def test_predict_names_files_that_are_not_utf_8(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    rng = np.random.default_rng(2)
    folder = tmp_path / "films"
    folder.mkdir()
    grey = rng.integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    Image.fromarray(grey).save(folder / os.fsdecode(b"M\xfcller.png"))
    (folder / os.fsdecode(b"cut\xfc.png")).write_bytes(b"")
    result = CliRunner().invoke(predict, [str(folder), "--name", MODEL])
    assert r"M\xfcller.png" in "".join(result.stdout.split())
    assert r"cut\xfc.png can't be read" in result.stderr
    CliRunner().invoke(predict, [str(folder), "--name", MODEL, "--out", str(tmp_path / "table.csv")])
    assert r"M\xfcller.png" in (tmp_path / "table.csv").read_text(encoding="utf-8")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 256, (SIZE, SIZE)).astype(np.uint8)


def predicted(*arguments: str | Path) -> tuple[list[dict[str, Any]], str, int]:
    result = CliRunner().invoke(predict, [*map(str, arguments), "--name", MODEL, "--json"])
    told = [line for line in result.stderr.splitlines() if "mlruns" not in line]  # the store tells that it was moved
    rows = json.loads(result.stdout) if result.stdout.startswith("[") else []
    return [row for row in rows if row["status"] == "screened"], "\n".join(told), result.exit_code


def test_every_page_and_frame_is_a_row(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    films = [noise(seed) for seed in range(3)]
    pages = written(tmp_path / "pages.tif", tiff([(film[..., None], Form()) for film in films]))
    frames = dicom(tmp_path / "frames.dcm", np.stack(films), bits=8, Modality="CR", WindowCenter=128, WindowWidth=256)
    Image.fromarray(films[0]).save(tmp_path / "one.png")
    alone = [load_detector(MODEL).screen(film[None]).score[0] for film in films]
    rows, told, status = predicted(pages, tmp_path / "one.png")
    assert [(row["frame"], row["score"]) for row in rows] == [*enumerate(alone), (None, alone[0])]
    assert {row["left_out"] for row in rows} == {0}
    assert (told, status) == ("", 0)
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 80}
    dicom(frames, np.stack(films).astype(np.uint16) * 6, **ct)
    rows, _, _ = predicted(frames)
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert len({row["score"] for row in rows}) == 3
    CliRunner().invoke(predict, [str(pages), "--name", MODEL, "--out", str(tmp_path / "t.csv")])
    table = CliRunner().invoke(predict, [str(pages), "--name", MODEL]).stdout
    assert "pages.tif#2" in "".join(table.split())
    assert (tmp_path / "t.csv").read_text().count("pages.tif,") == 3


@pytest.mark.parametrize("codec", ["GIF", "PNG", "WEBP"])
def test_what_of_an_animation_is_not_screened_is_told_in_its_row(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None], codec: str
) -> None:
    loaded_registry(workspace.workspace)
    first, *others = (Image.fromarray(noise(seed)) for seed in range(4))
    first.save(tmp_path / "a", codec, save_all=True, append_images=others)
    rows, _, _ = predicted(tmp_path / "a")
    assert [(row["frame"], row["left_out"]) for row in rows] == [(None, 3)]
    CliRunner().invoke(predict, [str(tmp_path / "a"), "--name", MODEL, "--csv", str(tmp_path / "t.csv")])
    result = CliRunner().invoke(predict, [str(tmp_path / "a"), "--name", MODEL])
    assert "3 more" in " ".join(result.stdout.split())
    assert "left out" in result.stdout
    assert "left_out" in (tmp_path / "t.csv").read_text()


def test_pages_beyond_the_bound_are_told_and_broken_ones_counted_once(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_registry(workspace.workspace)
    monkeypatch.setattr("medscreen.packaging.screened_files.MOST_OF_A_FILE", 4)
    film, blank = noise(1)[..., None], np.full((SIZE, SIZE, 1), 9, np.uint8)
    pages = written(tmp_path / "pages.tif", tiff([(part, Form()) for part in (film, blank, blank, blank, film, film)]))
    rows, told, status = predicted(pages)
    assert [(row["frame"], row["left_out"]) for row in rows] == [(0, 2)]
    assert "pages.tif#1 can't be read: every pixel" in told
    assert "2 more images of this file can't be read" in told
    assert (len(told.splitlines()), status) == (2, 1)


@pytest.mark.parametrize(
    ("elements", "raw"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, True),
        ({"PresentationIntentType": " for processing "}, True),
        ({"PresentationIntentType": "FOR PRESENTATION"}, False),
        ({"PresentationIntentType": None}, False),
        ({}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, False),
    ],
)
def test_raw_films_are_refused_unless_asked_for(
    workspace: Layout,
    tmp_path: Path,
    loaded_registry: Callable[[Path], None],
    elements: dict[str, Any],
    raw: bool,
) -> None:
    loaded_registry(workspace.workspace)
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 80}
    several = np.stack([noise(1), noise(2)]).astype(np.uint16) * 6
    with disable_value_validation():
        dicom(tmp_path / "one.dcm", several[0], **ct, **elements)
        dicom(tmp_path / "two.dcm", several, **ct, **elements)
    files = tmp_path / "one.dcm", tmp_path / "two.dcm"
    rows, told, status = predicted(*files)
    assert len(rows) == (0 if raw else 3)
    assert (told.count("FOR PROCESSING"), status) == ((3, 1) if raw else (0, 0))
    rows, _, status = predicted(*files, "--for-processing")
    assert ([row["for_processing"] for row in rows], status) == ([raw] * 3, 0)
    message = CliRunner().invoke(predict, [str(files[0]), "--name", MODEL, "--for-processing"]).stdout
    assert ("FOR PROCESSING" in " ".join(message.split())) == raw


def test_what_programs_leave_in_a_folder_is_no_image(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    folder = tmp_path / "films"
    content = tmp_path / "film.png"
    Image.fromarray(noise(1)).save(content)
    for name in (
        "a/film.png", "a/._film.png", ".ipynb_checkpoints/film.png", "a/.Trash-1000/film.png", ".thumbnails/film.png",
        "__MACOSX/film.png", "a/@eaDir/film.png", "$RECYCLE.BIN/film.png", "Thumbs.db", "a/desktop.ini",
        "film.png:Zone.Identifier", "DICOMDIR", "a/dicomdir", ".DS_Store",
    ):  # fmt: skip
        written(folder / name, content.read_bytes())
    (folder / "linked.png").symlink_to(content)
    rows, told, status = predicted(folder)
    assert [Path(row["file"]).relative_to(folder).as_posix() for row in rows] == ["a/film.png", "linked.png"]
    assert len(told.splitlines()) == 1
    for what in ("hidden files or folders", "__MACOSX", "@eaDir", "2 DICOMDIR", "Thumbs.db", "Zone.Identifier"):
        assert what in told
    assert status == 0
    only = tmp_path / "only"
    written(only / ".cache" / "film.png", content.read_bytes())
    result = CliRunner().invoke(predict, [str(only), "--name", MODEL])
    assert "1 hidden files or folders" in str(result.exception)


@pytest.mark.filterwarnings("ignore:.*stage:FutureWarning")
def test_where_no_version_is_in_the_stage_the_way_there_is_told(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    Image.fromarray(noise(1)).save(tmp_path / "film.png")

    def refusal(*options: str) -> str:
        return str(CliRunner().invoke(predict, [str(tmp_path / "film.png"), *options]).exception)

    client = open_store(workspace)
    number = version_in_stage(client, MODEL, "Production").number
    message = refusal("--stage", "Staging")
    assert not unstated(message, MODEL, f"version {number} is in Production", "--stage Production")
    assert "`medscreen promote VERSION --to Staging`" in message
    client.transition_model_version_stage(MODEL, str(number), "Staging")
    message = refusal()
    assert not unstated(message, MODEL, f"version {number} is in Staging", "--stage Staging", "refused version")
    assert "`medscreen promote VERSION --force --reason WHY`" in message
    assert not unstated(refusal("--name", "other"), "no registered model other", MODEL, "--name")


def test_a_detector_computes_on_one_thread_through_mlflow_too(
    published: Path, loaded_registry: Callable[[Path], None]
) -> None:
    """ONNX Runtime's own number of threads is that of the machine, whatever share of it a container has."""
    loaded_registry(published)
    logged = next((published / "mlruns").rglob("model.onnx")).parent
    through_mlflow = mlflow.pyfunc.load_model(str(logged))._model_impl.rt.get_session_options()
    own = load_detector(MODEL)._session.get_session_options()
    for options in (through_mlflow, own):
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_names_neither_steer_the_terminal_nor_run_in_a_spreadsheet(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    Image.fromarray(noise(1)).save(Path("=1+1.png"))
    written(Path("a\x1b[2J\nb.png"), b"")
    names = ["=1+1.png", "a\x1b[2J\nb.png"]
    CliRunner().invoke(predict, [*names, "--name", MODEL, "--csv", "t.csv"])
    result = CliRunner().invoke(predict, [*names, "--name", MODEL])
    assert r"a\x1b[2J\nb.png can't be read: the file is empty" in result.stderr
    assert "\x1b[2J" not in result.stdout + result.stderr
    assert Path("t.csv").read_text().splitlines()[1].startswith("'=1+1.png,")
