"""The order of a series, from headers alone."""

from pathlib import Path

import pytest

from medscreen.data.dicom.series import SeriesHeader
from medscreen.data.dicom.slice_order import Place
from medscreen.data.sources.slice_selection import in_order

AXIAL, SAGITTAL = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)


def order(**headers: SeriesHeader) -> str:
    return "".join(path.name for path, _ in in_order([(Path(name), header) for name, header in headers.items()]))


def placed(number: int, position: float, normal: tuple[float, float, float] | None = AXIAL) -> SeriesHeader:
    return SeriesHeader(number=number, place=normal and Place(normal, position))


def test_parallel_slices_lie_by_their_place_whatever_their_numbers() -> None:
    assert order(a=placed(1, 30), b=placed(2, 10), c=placed(3, 20)) == "bca"


def test_normals_may_differ_by_what_rounding_leaves() -> None:
    tilted = (0.0, 0.0005, 0.9999999)
    assert order(a=placed(1, 30), b=placed(2, 10, tilted), c=placed(3, 20)) == "bca"


@pytest.mark.parametrize("normal", [SAGITTAL, (0.0, 0.0, -1.0), (0.0, 0.002, 0.999998), None])
@pytest.mark.parametrize("which", ["a", "b", "c"])
def test_places_of_slices_that_are_not_parallel_say_nothing(
    which: str, normal: tuple[float, float, float] | None
) -> None:
    places = {"a": 30.0, "b": 10.0, "c": 20.0}
    headers = {
        name: placed(number, place, normal if name == which else AXIAL)
        for number, (name, place) in enumerate(places.items())
    }
    assert order(**headers) == "abc"
