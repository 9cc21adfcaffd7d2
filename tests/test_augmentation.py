import numpy as np
import pytest
import torch
from torch import Tensor

from medscreen.detectors.shared.augmentation import augment_films, pose_films


def augmented(images: Tensor, seed: int = 0, **strengths: float) -> Tensor:
    torch.manual_seed(seed)
    return augment_films(images, **strengths)


def spot(number: int, size: int, row: float, column: float) -> Tensor:
    """A bright Gaussian at these fractions of the side."""
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    image = 0.1 + 0.6 * torch.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 0.04**2))
    return image.expand(number, 1, size, size).contiguous()


def brightest(images: Tensor) -> Tensor:
    """(N, 2): row and column of the brightest pixel, as fractions of the side."""
    size = images.shape[-1]
    place = images.flatten(1).argmax(1)
    return torch.stack([place // size, place % size], 1) / size


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (7, 1, 28, 28), (3, 1, 33, 33)])
def test_shape_type_and_range_stay(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    result = augmented(images)
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.isfinite(result).all()


def test_black_and_white_stay_in_range() -> None:
    images = torch.stack([torch.zeros(1, 20, 20), torch.ones(1, 20, 20)])
    result = augmented(images)
    assert result[0].max() < 0.01
    assert result[1].min() > 0.8


def test_one_seed_gives_one_result() -> None:
    images = torch.rand(6, 1, 24, 24, generator=torch.Generator().manual_seed(3))
    assert torch.equal(augmented(images, 1), augmented(images, 1))
    assert not torch.equal(augmented(images, 1), augmented(images, 2))


def test_the_input_is_left_alone() -> None:
    images = torch.rand(6, 1, 24, 24, generator=torch.Generator().manual_seed(3))
    before = images.clone()
    augmented(images)
    assert torch.equal(images, before)


def test_each_image_is_changed_in_its_own_way() -> None:
    result = augmented(spot(8, 32, 0.5, 0.4))
    assert len({tuple(image.flatten().tolist()) for image in result}) == 8


def test_no_border_appears_where_a_film_has_moved() -> None:
    result = augmented(torch.full((64, 1, 32, 32), 0.5))
    assert float((result.amax((1, 2, 3)) - result.amin((1, 2, 3))).max()) < 1e-5


def test_exposure_changes_within_its_limits() -> None:
    levels = augmented(torch.full((2000, 1, 8, 8), 0.5)).mean((1, 2, 3))
    lowest, highest = 0.85 * 0.5 ** np.exp(0.25) - 0.05, 1.15 * 0.5 ** np.exp(-0.25) + 0.05
    assert lowest - 1e-3 <= levels.min() <= lowest + 0.05
    assert highest - 0.05 <= levels.max() <= highest + 1e-3
    assert abs(float(levels.median()) - 0.5) < 0.02


def test_a_film_moves_within_its_limits() -> None:
    place = brightest(augmented(spot(1000, 64, 0.5, 0.5)))
    distance = (place - 0.5).abs()
    assert distance.max() <= (0.08 * (np.cos(np.pi / 18) + np.sin(np.pi / 18))) / 0.9 + 1.5 / 64
    assert (distance.amax(0) > 0.06).all()


def test_about_half_of_the_films_are_mirrored_left_to_right() -> None:
    place = brightest(augmented(spot(1000, 64, 0.25, 0.8)))
    mirrored = float((place[:, 1] < 0.5).float().mean())
    assert 0.44 < mirrored < 0.56
    assert (place[:, 0] < 0.5).all()


NOTHING = {"pose": 0.0, "exposure": 0.0, "grain": 0.0}


def test_without_strength_nothing_changes() -> None:
    images = torch.rand(6, 1, 24, 24, generator=torch.Generator().manual_seed(3))
    assert torch.equal(augmented(images, **NOTHING), images)


@pytest.mark.parametrize("part", NOTHING)
def test_each_part_changes_films_by_its_strength(part: str) -> None:
    images = torch.rand(200, 1, 24, 24, generator=torch.Generator().manual_seed(3)) * 0.5 + 0.25
    weak, strong = ((augmented(images, **NOTHING | {part: strength}) - images).abs().mean() for strength in (0.05, 1.0))
    assert 0 < weak < strong


def test_exposure_alone_leaves_every_pixel_in_its_place() -> None:
    result = augmented(spot(100, 32, 0.25, 0.8), **NOTHING | {"exposure": 1.0})
    place = brightest(result)
    assert (place == place[0]).all()


def test_grain_is_blur_and_noise_within_their_limits() -> None:
    flat = augmented(torch.full((2000, 1, 8, 8), 0.5), **NOTHING | {"grain": 1.0})
    noise = flat.std((1, 2, 3))
    assert 0.025 < noise.max() < 0.03 * 1.3
    assert noise.min() < 0.002
    point = torch.zeros(2000, 1, 9, 9)
    point[:, :, 4, 4] = 1.0
    peaks = augmented(point, **NOTHING | {"grain": 1.0})[:, 0, 4, 4]
    assert 0.25 - 0.1 < peaks.min() < 0.35  # seen wholly through the blur, [1 2 1]/4 along both sides leaves a quarter
    assert peaks.max() > 0.95


def test_a_pose_moves_and_never_mirrors() -> None:
    torch.manual_seed(0)
    found = brightest(pose_films(spot(200, 32, 0.5, 0.3), 0.5))
    assert found[:, 1].max() < 0.45
    assert found[:, 1].std() > 0.01
    assert found[:, 0].std() > 0.01


def test_a_pose_of_strength_0_is_the_image() -> None:
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(pose_films(images, 0.0), images)
