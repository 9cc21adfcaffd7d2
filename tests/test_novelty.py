from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torchvision.models import resnet18

from factories import image_set, one_sentence
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.data import images
from medscreen.detectors.build import build
from medscreen.detectors.patches import detector as patches
from medscreen.detectors.patches.detector import PatchcoreDetector
from medscreen.detectors.shared import pretrained
from medscreen.detectors.shared.base import Detector, as_images, score
from medscreen.errors import MedscreenError

SIZE = 20
TRAIN, TUNE, FRESH = image_set(60, SIZE, 1), image_set(4, SIZE, 2), image_set(30, SIZE, 3)
BACKBONE = {"name": "resnet18", "weights": "none", "channels": "sum", "side": 32}
PADIM = {
    "kind": "patches",
    "variant": "padim",
    "backbone": BACKBONE,
    "depths": [1],
    "grid": 4,
    "features": 8,
    "top_fraction": 0.2,
}
PATCHCORE = {
    "kind": "patches", "variant": "patchcore", "backbone": BACKBONE, "depths": [1], "grid": 4, "neighborhood": 3,
    "share": 0.1, "most": 100, "top_fraction": 0.2,
}  # fmt: skip
PYRAMID = {"kind": "pyramid", "levels": 2, "grid": 3}
KNN = {"kind": "knn", "neighbors": 5, "most": 100}


def built(settings: dict[str, Any], seed: int = 7) -> Detector:
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(settings)
    return build(params, SIZE, ComputeParams(threads=1, device="cpu"), seed)


def patchcore(**changed: Any) -> PatchcoreDetector:
    detector = built(PATCHCORE | changed)
    assert isinstance(detector, PatchcoreDetector)
    return detector.fit(TRAIN, TUNE)


@pytest.mark.parametrize("settings", [PADIM, PATCHCORE])
def test_weights_are_read_to_fit_and_never_again(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    weights = resnet18().state_dict()
    save_file(weights, path)
    with_weights = settings | {"backbone": BACKBONE | {"weights": str(path), "channels": "repeat"}}
    fitted = built(with_weights).fit(TRAIN, TUNE)
    first = fitted.network.state_dict()["0.backbone.stages.0.0.weight"]
    torch.testing.assert_close(first, weights["conv1.weight"])
    path.unlink()
    monkeypatch.setattr(pretrained, "read_weights", None)
    fresh = built(with_weights, seed=8)
    fresh.network.load_state_dict(fitted.network.state_dict())
    np.testing.assert_array_equal(score(fresh, FRESH.pixels), score(fitted, FRESH.pixels))


def test_a_bank_is_that_share_of_the_patches() -> None:
    assert patchcore().network.state_dict()["1.bank"].shape == (48, 64)  # a tenth of 30 healthy images x 16 places


def test_a_bank_never_exceeds_most() -> None:
    network = patchcore(most=20).network
    state = network.state_dict()
    assert state["1.bank"].shape == (20, 64)
    with torch.no_grad():
        every = network[0](as_images(TRAIN.healthy().pixels)).flatten(0, 1)
        apart = torch.cdist(state["1.bank"], every).min(1).values
    assert apart.max() < 0.01  # each is a patch of a healthy image


def test_patches_are_drawn_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = patchcore(most=20).network.state_dict()["1.bank"]
    monkeypatch.setattr(images, "_AT_ONCE", 7)
    torch.testing.assert_close(patchcore(most=20).network.state_dict()["1.bank"], whole, atol=1e-4, rtol=1e-4)


def test_another_seed_draws_other_channels() -> None:
    first, second = (built(PADIM, seed).fit(TRAIN, TUNE).network.state_dict()["1.chosen"] for seed in (7, 8))
    assert first.unique().shape == (8,)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (PADIM | {"features": 65}, "resnet18 has 64 channels at depths [1], fewer than features = 65"),
        ({"kind": "novelty", "features": PYRAMID, "distance": KNN | {"neighbors": 31}}, "fewer than neighbors = 31"),
    ],
)
def test_more_than_there_is_can_not_be_asked_for(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(MedscreenError) as error:
        built(settings).fit(TRAIN, TUNE)
    assert says in one_sentence(error)
    assert "Lower" in str(error.value)


@pytest.mark.parametrize(
    "settings", [PADIM, PATCHCORE, {"kind": "novelty", "features": PYRAMID, "distance": {"kind": "mahalanobis"}}]
)
def test_nothing_is_learned_without_healthy_images(settings: dict[str, Any]) -> None:
    abnormal = TRAIN.take(TRAIN.labels == 1)
    with pytest.raises(MedscreenError, match="train: 0 healthy images") as error:
        built(settings).fit(abnormal, TUNE)
    one_sentence(error)


def test_of_many_healthy_images_some_are_remembered() -> None:
    many = image_set(260, SIZE, 4)
    entry = {"kind": "novelty", "features": PYRAMID, "distance": KNN}
    detector = built(entry).fit(many, TUNE)
    assert detector.network.state_dict()["1.known"].shape == (100, 18)
    other = built(entry, seed=8).fit(many, TUNE)
    assert not np.allclose(score(other, FRESH.pixels), score(detector, FRESH.pixels), atol=1e-4)


def test_the_bank_is_what_the_coreset_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    def banked(first: bool) -> torch.Tensor:
        monkeypatch.setattr(patches, "coreset", lambda _, number: torch.arange(number).flip(0 if not first else []))
        return patchcore().network.state_dict()["1.bank"]

    assert torch.equal(banked(first=True), banked(first=False).flip(0))


@pytest.mark.parametrize("distance", [{"kind": "mahalanobis"}, {"kind": "knn", "neighbors": 1, "most": 20000}])
def test_features_that_no_memory_holds_are_a_sentence(distance: dict[str, Any]) -> None:
    features = {"kind": "hog", "cells": 16, "bins": 36, "block": 4, "signed": True}
    with pytest.raises(MedscreenError, match="97,344") as error:
        built({"kind": "novelty", "features": features, "distance": distance})
    one_sentence(error)
