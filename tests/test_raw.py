"""What `raw` writes down of the data set, and of the files that a detector reads besides it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from factories import PARAMS_YAML, REPOSITORY
from medscreen.config.params import load_params
from medscreen.pipeline.raw import raw
from medscreen.workspace.layout import Layout

TRANSFER: dict[str, Any] = yaml.safe_load((REPOSITORY / "benchmarks" / "roster.yaml").read_text())["detectors"][
    "transfer"
]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "weights.pt").write_bytes(b"some weights")
    own = TRANSFER | {"backbone": TRANSFER["backbone"] | {"weights": str(tmp_path / "weights.pt")}}
    content = yaml.safe_load(PARAMS_YAML.read_text())
    content["datasets"]["phantom"] |= {"patients": 40, "image_size": 16, "root": str(tmp_path / "films")}
    content["compute"]["threads"] = 1
    content["detectors"] = {
        "gradient": {"kind": "statistic", "variant": "gradient"},
        "own": own,
        "both": {
            "kind": "ensemble",
            "combine": "rank",
            "members": {"one": {"kind": "statistic", "variant": "gradient"}, "other": own},
        },
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)  # which lists the code of a training
    return Layout(tmp_path, tmp_path)


def besides(layout: Layout) -> dict[str, list[str]]:
    raw(layout, load_params(layout.params))
    return {path.stem: json.loads(path.read_text()) for path in layout.external_weights.iterdir()}


def test_a_file_of_weights_with_other_content_changes_what_its_detectors_depend_on(layout: Layout) -> None:
    before = besides(layout)
    assert before["gradient"] == []
    assert before["both"][:1] == before["own"]
    assert [len(digest) for digest in before["both"]] == [32, 32]  # the weights and the code of its members
    assert besides(layout) == before
    (layout.workspace / "weights.pt").write_bytes(b"more weights")
    after = besides(layout)
    assert after["gradient"] == []
    assert after["both"] == [*after["own"], before["both"][1]] != before["both"]


def test_a_file_that_is_not_there_is_left_to_fit_to_say(layout: Layout) -> None:
    (layout.workspace / "weights.pt").unlink()
    assert besides(layout)["own"] == [""]


def test_a_detector_that_left_the_roster_leaves_no_file(layout: Layout) -> None:
    besides(layout)
    content = yaml.safe_load(layout.params.read_text())
    del content["detectors"]["own"]
    layout.params.write_text(yaml.safe_dump(content))
    assert set(besides(layout)) == {"gradient", "both"}
