"""What the stage prints and hands on of images that may be patients'."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from factories import FOLDERS, film, new_checkout, written
from medscreen.config.params import load_params
from medscreen.config.privacy import OTHER
from medscreen.pipeline.curate import curate
from medscreen.pipeline.raw import raw
from medscreen.workspace.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Class folders; one of three images is called as a person might be."""
    rng = np.random.default_rng(5)
    for number in range(80):
        folder = "Mustermann Erika" if number in {3, 5, 7} else ("normal", "abnormal")[number % 2]
        path = tmp_path / "films" / folder / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film(40, bool(number % 2), rng)).save(path)
    written(tmp_path / "films" / "licence.txt", "free")
    films = FOLDERS | {"image_size": 32}
    new_checkout(tmp_path, dataset="films", datasets={"films": films}, compute={"threads": 1, "device": "cpu"})
    return Layout(tmp_path, tmp_path)


def test_what_became_no_image_and_what_was_merged_is_printed(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    params = load_params(layout.params)
    raw(layout, params)
    curate(layout, params)
    told = capsys.readouterr().out.splitlines()
    assert "  label 'normal' is normal: 40 images" in told
    assert "  label 'abnormal' is abnormal: 37 images" in told
    assert f"  label {OTHER!r} is abnormal: 3 images" in told
    assert "  note: 1 files outside the class folders" in told
    assert any(line.startswith("  note: ") and repr(OTHER) in line and "finding 1." in line for line in told)
    assert not any("Mustermann" in line for line in told)
    page = layout.curation_page.read_text()
    assert "1 files outside the class folders" in page
    assert "finding 1" in page
    for split in ("train", "tune", "val", "test"):
        assert set(pq.read_table(layout.curated(split) / "manifest.parquet")["trait:finding"].to_pylist()) <= {
            "normal",
            "abnormal",
            OTHER,
        }
    report = layout.curation_report.read_text()
    assert json.loads(report)["merged_values"] == {"finding": 1}
    assert json.loads(report)["labels"] == [
        {"label": "normal", "taken_as": "normal", "images": 40},
        {"label": "abnormal", "taken_as": "abnormal", "images": 37},
        {"label": OTHER, "taken_as": "abnormal", "images": 3},
    ]
    assert "Mustermann" not in report
