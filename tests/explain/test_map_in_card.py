"""Cards of a real publish: their section on the map has the figures and reasons of explanations.json."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from medscreen.pipeline.evaluate import evaluate
from medscreen.pipeline.publish import publish
from medscreen.registry.run_record import Record
from medscreen.registry.versions import versions_of
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, SIZE, settings_of

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


def cards(layout: Layout) -> dict[str, tuple[str, dict]]:
    """Detector -> the card's section on the map, and explanations.json, as the version's run keeps them."""
    client, found = open_store(layout), {}
    for version in versions_of(client, MODEL):
        record = Record(client, layout, version)
        card = (record.content("card.md") or b"").decode()
        section = card.partition("## Explanation map\n")[2].partition("\n## ")[0]
        found[version.detector] = section, record.json("explanations.json")
    return found


def shown(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


@pytest.fixture
def with_masks(evaluated: Path, tmp_path: Path) -> Layout:
    """A workspace that knows its lesions: they are in the upper left corner, where `half` alone points."""
    home = Path(shutil.copytree(evaluated, tmp_path / "workspace"))
    layout, params = Layout(home, home), settings_of(home)
    masks = np.zeros((json.loads(layout.curation_report.read_text())["splits"]["test"]["images"], SIZE, SIZE), bool)
    masks[:, :6, :6] = True
    np.save(layout.lesion_masks, masks)
    evaluate(layout, params, ["half", "whole"])
    publish(layout, params)
    return layout


def test_figures_and_reasons_are_those_of_explanations_json(with_masks: Layout) -> None:
    found = cards(with_masks)
    section, proof = found["half"]
    assert proof == json.loads(with_masks.explanations("half").read_text())
    assert proof["shown"]
    figures = re.findall(r"-?\d\.\d{3} \([^)]*\)", section)
    expected = [proof["localization"][game][of] for game in ("pointing_game", "energy_inside")
                for of in ("map", "chance", "center_blob")]  # fmt: skip
    expected += [proof["perturbation"][kind]["mean"][of] for kind in ("deletion", "insertion")
                 for of in ("map", "map_of_another_image", "difference")]  # fmt: skip
    assert figures == [*map(shown, expected), shown(proof["randomization"]["rank_correlation"])]
    assert f"Measured on {proof['images']} abnormal images of test; in brackets the 95 % interval" in section
    assert "Not tested" not in section
    section, proof = found["whole"]
    assert not proof["shown"]
    assert f"It is not shown: {proof['reason']}." in section
    assert found["corner"][0].strip() == "This detector has none: the corner has no places."


def test_without_masks_the_card_names_what_is_unproven(workspace: Layout) -> None:
    section, proof = cards(workspace)["half"]
    assert f"Not tested for localization of lesions, as {proof['localization_reason']}." in section
    assert shown(proof["randomization"]["rank_correlation"]) in section
    assert "pointing game" not in section


def test_results_of_before_there_were_maps_have_a_card_until_they_are_evaluated_again(workspace: Layout) -> None:
    params, path = settings_of(workspace.home), workspace.explanations("half")
    content = path.read_text()
    path.unlink()
    publish(workspace, params)
    assert "explanations.json is lost" in cards(workspace)["half"][0]
    changed = json.loads(content) | {"shown": False, "reason": "it is a test"}
    path.write_text(json.dumps(changed))
    publish(workspace, params)
    section, proof = cards(workspace)["half"]
    assert proof == changed  # the run, too: `explain` reads it
    assert "It is not shown: it is a test." in section


def test_damaged_explanations_name_the_folder(workspace: Layout) -> None:
    workspace.explanations("half").write_text("{")
    with pytest.raises(Exception, match=r"reports/detectors/half.*dvc repro"):
        publish(workspace, settings_of(workspace.home))
