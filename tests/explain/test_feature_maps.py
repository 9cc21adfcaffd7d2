"""Feature maps by layer, of the training that a package names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from safetensors.torch import save_file

from factories import image_set, unstated
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.detectors.build import build
from medscreen.errors import MedscreenError
from medscreen.explain.feature_maps import feature_maps, trained_network
from tiny_detectors import TINY

SIZE = 24


def trained(folder: Path, kind: str) -> dict[str, Any]:
    """A folder as `fit` leaves it; what the package's metadata state."""
    folder.mkdir(parents=True)
    entry: DetectorParams = TypeAdapter(DetectorParams).validate_python(TINY[kind])
    detector = build(entry, SIZE, ComputeParams(threads=1, device="cpu"), 3)
    save_file({k: v.contiguous() for k, v in detector.network.state_dict().items()}, folder / "state.safetensors")
    (folder / "fit.json").write_text(json.dumps({"run_key": "key"}))
    return {"parameters": entry.model_dump(), "image_size": SIZE}


@pytest.mark.parametrize(("kind", "layers"), [("cnn", 8), ("plain cnn", 2), ("autoencoder", 5), ("gradient", 0)])
def test_feature_maps_are_those_of_the_convolutions(tmp_path: Path, kind: str, layers: int) -> None:
    folder = tmp_path / "models" / "it" / "fitted"
    network = trained_network(folder, trained(folder, kind), "key")
    found = feature_maps(network, image_set(1, SIZE, 1).pixels[0])
    assert len(found) == layers
    assert all(maps.ndim == 3 and np.isfinite(maps).all() for maps in found.values())


def test_another_training_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "it" / "fitted"
    metadata = trained(folder, "cnn")
    with pytest.raises(MedscreenError) as error:
        trained_network(folder, metadata, "another key")
    assert not unstated(str(error.value), "models/it/fitted", "dvc pull", "--layers")
    with pytest.raises(MedscreenError) as error:
        trained_network(tmp_path / "models" / "none" / "fitted", metadata, "key")
    assert not unstated(str(error.value), "models/none/fitted", "dvc pull", "--layers")
