import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from factories import dicom
from medscreen.cli.screening import predict
from medscreen.ingestion import read_grey
from medscreen.layout import Layout
from medscreen.params import FILE_DISPLAY
from medscreen.registry import load_detector
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
    said = CliRunner().invoke(predict, [str(film), str(radiograph), "--name", MODEL, "--json"])
    detector = load_detector(MODEL)
    assert detector.display == DISPLAY
    as_trained, as_filed = (detector.screen(read_grey(film, how)[None]).score[0] for how in (DISPLAY, FILE_DISPLAY))
    (row,) = json.loads(said.stdout)
    assert row["score"] == as_trained != as_filed
    assert "Hounsfield" in said.stderr
    assert said.exit_code == 1


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
    said = CliRunner().invoke(predict, [str(folder), "--name", MODEL, "--csv", str(tmp_path / "table.csv")])
    assert r"M\xfcller.png" in "".join(said.stdout.split())
    assert r"cut\xfc.png can't be read" in said.stderr
    assert r"M\xfcller.png" in (tmp_path / "table.csv").read_text(encoding="utf-8")
