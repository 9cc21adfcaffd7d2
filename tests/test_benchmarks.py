import argparse
from pathlib import Path

import detectors
import numpy as np
import pytest
import yaml
from sources_elsewhere import CHANGES, aurocs_elsewhere, changed

from factories import PARAMS_YAML, image_set
from medscreen.config.detectors.roster import DetectorParams
from tiny_detectors import kinds_of


def test_the_roster_of_the_benchmarks_has_every_kind() -> None:
    roster = detectors.read_roster(detectors.ROSTER)
    assert {entry.kind for entry in roster.values()} == {kind for kind, _ in kinds_of(DetectorParams)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_image_is_another_of_the_same_form(name: str) -> None:
    pixels = image_set(4, 28, 1).pixels
    found = changed(pixels, name)
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    assert (found != pixels).any()
    assert abs(float(found.mean()) - float(pixels.mean())) < 60  # the same film, not another one


def test_abnormal_images_stay_as_they_are_elsewhere() -> None:
    images = image_set(40, 28, 1)
    seen: list[np.ndarray] = []

    def brightness(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return pixels.mean((1, 2)).astype(np.float32)

    found = aurocs_elsewhere(images, brightness)
    assert set(found) == set(CHANGES)
    np.testing.assert_array_equal(seen[0], images.pixels[images.labels == 1])
    assert found["gain 1.15"] < found["gain 0.85"]


def test_no_test_image_is_looked_at_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = yaml.safe_load(PARAMS_YAML.read_text())
    params["datasets"]["phantom"] |= {"patients": 60, "image_size": 28, "root": str(tmp_path / "films")}
    params["compute"]["threads"] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    asked = argparse.Namespace(
        dataset="phantom", root=None, only=["gradient"], seeds=[7, 8], roster=detectors.ROSTER, test=False
    )
    ((name, found),) = detectors.rows(asked)
    assert name == "gradient"
    assert len(found) == 2
    assert not any(column.startswith("test") for column in found[0])
    asked.test = True
    ((_, found),) = detectors.rows(asked)
    assert 0 <= found[0]["test AUROC"] <= 1
