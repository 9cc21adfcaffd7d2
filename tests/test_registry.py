from collections.abc import Callable
from pathlib import Path

import pytest

from medscreen import MedscreenError, load_detector
from medscreen.layout import find_layout
from medscreen.registry import in_stage, move_to
from medscreen.tracking import open_store

MODEL = "phantom-detector"


def test_a_stage_and_its_alias_move_together(copied: Path) -> None:
    client = open_store(find_layout(copied))
    former = in_stage(client, MODEL, "Production")
    other = next(
        int(v.version) for v in client.search_model_versions(f"name = '{MODEL}'") if int(v.version) != former.number
    )
    candidate = type(former)(**{**vars(former), "number": other})
    move_to(client, candidate, "Staging")
    assert in_stage(client, MODEL, "Staging").number == other
    assert in_stage(client, MODEL, "Production").number == former.number
    move_to(client, candidate, "Production")
    assert in_stage(client, MODEL, "Production").number == other
    assert in_stage(client, MODEL, "Archived").number == former.number
    assert int(client.get_model_version_by_alias(MODEL, "production").version) == other


@pytest.mark.parametrize(
    ("name", "stage", "says"),
    [(MODEL, "production", "is no stage"), (MODEL, "Staging", "No version"), ("mri-detector", "Production", MODEL)],
)
def test_what_is_not_there_is_said(
    finished: Path, loaded_registry: Callable[[Path], None], name: str, stage: str, says: str
) -> None:
    loaded_registry(finished)
    with pytest.raises(MedscreenError, match=says):
        load_detector(name, stage)


def test_outside_a_checkout_is_said(tmp_path: Path, loaded_registry: Callable[[Path], None]) -> None:
    loaded_registry(tmp_path)
    with pytest.raises(MedscreenError, match="No medscreen project"):
        load_detector(MODEL)
