"""Similar cases: nearest training images by a packaged graph's own features."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from factories import written
from html_pages import Tags
from medscreen.cli import commands
from medscreen.errors import MedscreenError
from medscreen.explain.similar_cases import CaseIndex, case_table, read_cases
from medscreen.packaging.predictions import with_embeddings
from medscreen.registry.loaded_version import LoadedVersion
from medscreen.registry.run_record import Record
from medscreen.registry.versions import version_in_stage
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from tiff_files import Form, tiff
from workspaces import MODEL, SIZE, film

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
KEY = b"k" * 32
INDEX = CaseIndex(
    np.array([[0, 0], [3, 4], [0, 1], [0, 0]], np.float32), np.array([0, 0, 1, 0]), ["a", "b", "c", "d"], list("wxyz")
)


def test_the_nearest_images_of_a_label_come_by_distance_and_equal_ones_in_order() -> None:
    found = INDEX.nearest(np.zeros(2, np.float32), label=0, number=2)
    assert [(case.name, case.image, case.distance) for case in found] == [("a", "w", 0.0), ("d", "z", 0.0)]
    (abnormal,) = INDEX.nearest(np.zeros(2, np.float32), label=1, number=5)
    assert (abnormal.name, abnormal.label, abnormal.distance) == ("c", 1, 1.0)


def test_an_index_comes_back_and_holds_no_name_and_no_pixel(tmp_path: Path) -> None:
    embeddings = np.random.default_rng(7).normal(size=(40, 5)).astype(np.float32)
    origins, labels = [f"DOE-JANE-{i}.dcm" for i in range(40)], np.arange(40, dtype=np.int8) % 2
    rows = with_embeddings(pa.table({"origin": origins, "label": labels}), embeddings)
    images = [f"digest{i}" for i in range(40)]
    path = tmp_path / "similar_cases.parquet"
    table = case_table(rows, images, KEY)
    assert table is not None
    pq.write_table(table, path)
    index = read_cases(path.read_bytes())
    np.testing.assert_allclose(index.embeddings, embeddings, atol=2e-3)
    assert index.labels.tolist() == labels.tolist()
    assert list(index.images) == images
    assert b"DOE" not in path.read_bytes()
    assert set(table.column_names) == {"name", "label", "image", "embedding"}
    other = case_table(rows, images, b"o" * 32)
    assert other is not None
    assert other["name"].to_pylist() != list(index.names)


def test_predictions_without_embeddings_make_no_index() -> None:
    assert case_table(pa.table({"origin": ["a"], "label": [0]}), ["x"], KEY) is None


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet PAR1"])
def test_a_damaged_index_is_named(content: bytes) -> None:
    with pytest.raises(MedscreenError, match=r"index of similar cases is damaged"):
        read_cases(content)


def test_a_detector_without_features_states_why_it_has_no_index(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.workspace)
    done = CliRunner().invoke(commands, ["similar", str(a_film(workspace.workspace))])
    assert isinstance(done.exception, MedscreenError)
    assert "no feature vector" in str(done.exception)


def test_a_report_is_one_page_with_every_image_and_the_unreadable_named(
    workspace: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.workspace)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    out = tmp_path / "page.html"
    done = CliRunner().invoke(commands, ["report", str(a_film(tmp_path)), str(broken), "--out", str(out)])
    assert done.exit_code == 1, done.output
    assert "broken.png" in done.output
    page = out.read_text()
    assert page.count("data:image/png;base64,") == 2  # the image, and its score among those of val
    assert "No map:" in page  # without masks, quarters of equal worth are not shown
    assert "Research use only, never diagnosis" in page
    assert "film.png" in page
    assert "no feature vector" in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize("out", ["film.png", "folder.html"])
def test_a_report_takes_the_place_of_no_image_and_no_folder(
    workspace: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(workspace.workspace)
    image = a_film(tmp_path)
    before = image.read_bytes()
    (tmp_path / "folder.html").mkdir()
    done = CliRunner().invoke(commands, ["report", str(image), "--out", str(tmp_path / out)])
    assert isinstance(done.exception, MedscreenError)
    assert out in str(done.exception)
    assert "--out" in str(done.exception)
    assert image.read_bytes() == before


def test_a_picture_is_called_as_its_heading_is(
    workspace: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.workspace)
    film = a_film(tmp_path).rename(tmp_path / 'a_b*c & <i>"d".png')
    out = tmp_path / "page.html"
    assert CliRunner().invoke(commands, ["report", str(film), "--out", str(out)]).exit_code == 0
    page = Tags(out.read_text())
    assert next(attributes["alt"] for tag, attributes in page.tags if tag == "img") == str(film)
    assert str(film) in page.text


@pytest.mark.parametrize("command", ["explain", "report", "similar"])
def test_images_of_a_file_that_are_left_out_are_counted(
    workspace: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(workspace.workspace)
    monkeypatch.setattr("medscreen.packaging.screened_files.MOST_OF_A_FILE", 4)
    monkeypatch.setattr(LoadedVersion, "similar_to", lambda *_: [])
    client, kept = open_store(workspace), tmp_path / "similar_cases.parquet"
    pq.write_table(pa.table({"name": ["a"], "label": [0], "image": ["w"], "embedding": [[0.0]]}), kept)
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    client.log_artifact(version.run_id, str(kept))
    seen, blank = (film(5, 1)[..., None], Form()), (np.full((SIZE, SIZE, 1), 9, np.uint8), Form())
    pages = written(tmp_path / "pages.tif", tiff([seen, seen, blank, blank, seen, seen, seen]))
    out = {"explain": ["--out", "pictures"], "report": ["--out", "page.html"], "similar": []}[command]
    done = CliRunner().invoke(commands, [command, str(pages), *out])
    assert done.exit_code == 1, done.output
    assert done.stderr.count("pages.tif: 3 more images of the file left out") == 1
    assert done.stderr.count("pages.tif: 1 more images of this file can't be read") == 1
    if command == "report":
        assert "Not in this report: 3 more images of the file" in Path("page.html").read_text()


def test_a_version_whose_run_lost_its_scores_has_no_report(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.workspace)
    monkeypatch.setattr(Record, "scores", lambda _: None)
    done = CliRunner().invoke(commands, ["report", "film.png"])
    assert re.search(r"holds no scores of val.*dvc repro publish", str(done.exception))


def a_film(folder: Path) -> Path:
    path = folder / "film.png"
    Image.fromarray(film(5, 1)).save(path)
    return path
