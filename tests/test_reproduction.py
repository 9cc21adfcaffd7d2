import math
from typing import Any

import pytest

from medscreen.registry.reproduction import Reproduction, largest_difference


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


KEPT = {"val": {"auroc": estimate(0.9, 0.8, 0.95), "balanced_view": {"accuracy": estimate(0.7)}}}


@pytest.mark.parametrize(
    ("made", "apart", "metric"),
    [
        (KEPT, 0.0, "val/auroc"),
        ({"val": {**KEPT["val"], "auroc": estimate(0.9, 0.75, 0.96)}}, 0.05, "val/auroc_low"),
        ({"val": {**KEPT["val"], "balanced_view": {"accuracy": estimate(0.5)}}}, 0.2, "val/balanced_view/accuracy"),
        ({"val": {**KEPT["val"], "auroc": estimate(None)}}, math.inf, "val/auroc"),
        ({**KEPT, "test": {"ece": estimate(0.1)}}, math.inf, "test/ece"),
    ],
)
def test_the_largest_difference_is_that_of_any_number(made: dict[str, Any], apart: float, metric: str) -> None:
    for first, second in ((KEPT, made), (made, KEPT)):
        found = largest_difference(first, second)
        assert found == (pytest.approx(apart), metric)


def made_again(same_package: bool, same_metrics: bool | None, apart: float) -> Reproduction:
    return Reproduction(True, same_package, same_metrics, apart, "val/auroc")


@pytest.mark.parametrize(
    ("result", "exactly", "nearly"),
    [
        (made_again(True, True, 0.0), True, True),
        (made_again(True, None, math.inf), True, True),  # it has a package alone
        (made_again(False, None, math.inf), False, False),
        (made_again(False, True, 0.0), False, True),  # other weights, the same figures
        (made_again(True, False, 0.01), False, True),
        (made_again(False, False, 0.02), False, False),
    ],
)
def test_without_a_tolerance_every_bit_counts(result: Reproduction, exactly: bool, nearly: bool) -> None:
    assert result.is_within(0) is exactly
    assert result.is_within(0.01) is nearly
