import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from factories import image_set, one_sentence, unstated
from medscreen.config.privacy import OTHER
from medscreen.detectors.shared.class_targets import (
    classified,
    drawn_equally_often,
    weighing_the_same,
    with_rarest_thrice,
)
from medscreen.detectors.shared.training import Examples
from medscreen.errors import MedscreenError

IMAGES = image_set(12, 8, 1)


def test_without_findings_the_classes_are_normal_and_abnormal() -> None:
    examples = classified(IMAGES, [])
    np.testing.assert_array_equal(examples.labels, np.eye(2)[IMAGES.labels])
    np.testing.assert_allclose(examples.images[:, 0], IMAGES.pixels / 255, atol=1e-6)


def test_findings_are_classes_in_their_order() -> None:
    found = classified(IMAGES, ["stain", "spot"]).labels.argmax(1)
    assert found.tolist() == [0, 2, 0, 1] * 3


def test_an_unnamed_finding_is_a_sentence() -> None:
    with pytest.raises(MedscreenError, match="lack 'stain'") as error:
        classified(IMAGES, ["spot"])
    one_sentence(error)


def test_a_finding_that_was_merged_is_a_sentence() -> None:
    merged = replace(IMAGES, attributes={"finding": [("none", "spot", "none", OTHER)[i % 4] for i in range(12)]})
    with pytest.raises(MedscreenError, match=re.escape(OTHER)) as error:
        classified(merged, ["spot", "stain"])
    assert not unstated(one_sentence(error), "findings", "params.yaml", "spot, stain")
    assert classified(merged, ["spot", OTHER]).labels.argmax(1).tolist() == [0, 1, 0, 2] * 3


def test_weights_make_every_class_count_as_much() -> None:
    shares = torch.eye(3)[[0] * 6 + [1] * 3 + [2]]
    weights = weighing_the_same(shares)
    np.testing.assert_allclose((shares * weights).sum(0), [10 / 3] * 3, rtol=1e-6)
    assert (shares @ weights).mean().item() == pytest.approx(1)


def test_classes_are_drawn_equally_often_and_images_of_one_class_too() -> None:
    torch.manual_seed(1)
    shares = torch.eye(3)[[0] * 700 + [1] * 200 + [2] * 100]
    drawn = torch.cat([drawn_equally_often(shares) for _ in range(20)])
    assert drawn.shape == (20_000,)
    np.testing.assert_allclose(shares[drawn].mean(0), [1 / 3] * 3, atol=0.02)
    assert len(set(drawn.tolist())) > 990


def test_the_rarest_class_is_there_three_times_mirrored_and_upside_down() -> None:
    images = torch.arange(5 * 4.0).view(5, 1, 2, 2)
    examples = with_rarest_thrice(Examples(images, torch.eye(2)[[0, 1, 0, 0, 1]]))
    assert examples.labels.argmax(1).tolist() == [0, 1, 0, 0, 1, 1, 1, 1, 1]
    torch.testing.assert_close(examples.images[:5], images)
    assert examples.images[5, 0].tolist() == [[5, 4], [7, 6]]  # mirrored left to right
    assert examples.images[7, 0].tolist() == [[7, 6], [5, 4]]  # turned by 180 degrees
    assert examples.images[8, 0].tolist() == [[19, 18], [17, 16]]
