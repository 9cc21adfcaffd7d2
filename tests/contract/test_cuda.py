"""`compute.device: cuda` on a machine with a GPU: every trained kind learns there and is packaged for the CPU."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from factories import image_set
from medscreen.config.compute import ComputeParams
from medscreen.detectors.shared.base import Detector, score
from medscreen.detectors.shared.onnx_export import export_network
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.scoring_graph import scoring_graph
from tiny_detectors import EPOCHS, LEAST_AUROC, TRAINED, tiny_detector

SIZE = 20
GPU = ComputeParams(threads=1, device="cuda")
TRAIN, TUNE, FRESH = (image_set(number, SIZE, seed) for number, seed in ((66, 1), (20, 2), (50, 3)))

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here"),
    pytest.mark.parametrize("kind", TRAINED),
]


def fit(kind: str) -> Detector:
    return tiny_detector(kind, SIZE, GPU, epochs=EPOCHS[kind], patience=EPOCHS[kind]).fit(TRAIN, TUNE)


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], Detector]:
    return cache(fit)


def test_it_tells_abnormal_images_from_healthy_ones(kind: str, fitted: Callable[[str], Detector]) -> None:
    scores = score(fitted(kind), FRESH.pixels)
    abnormal, healthy = scores[FRESH.labels == 1], scores[FRESH.labels == 0]
    assert (abnormal[:, None] > healthy).mean() > LEAST_AUROC.get(kind, 0.9)


def test_one_seed_gives_one_result_bit_for_bit(kind: str, fitted: Callable[[str], Detector]) -> None:
    again = fit(kind).network.state_dict()
    for name, value in fitted(kind).network.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(again[name], value), name


def test_the_package_scores_the_same_on_the_cpu(kind: str, fitted: Callable[[str], Detector]) -> None:
    packaged = PackagedDetector(scoring_graph(export_network(fitted(kind), SIZE), SIZE).SerializeToString())
    expected = score(fitted(kind), FRESH.pixels)
    np.testing.assert_allclose(packaged.score(FRESH.pixels), expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
