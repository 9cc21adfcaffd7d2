"""Settings, packages and runs with names of former versions."""

import copy
import json
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import helper

from factories import REPOSITORY
from medscreen.config.former_names import KEYS, current_param, current_value, with_current_keys
from medscreen.config.json_schema import params_schema
from medscreen.config.params import Params
from medscreen.operating.decision_nodes import METADATA as PROPERTY
from medscreen.operating.decision_nodes import package, scoring_part
from medscreen.operating.operating_point import OperatingPoint
from medscreen.operating.probability_calibration import LogisticCurve
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.scoring_graph import scoring_graph
from test_packaging import mean_network

SIZE = 16
CONTENT = yaml.safe_load((REPOSITORY / "tests" / "params.yaml").read_text())
FORMER = {key: former for former, key in KEYS.items()}
FORMER_IN_PACKAGES = {
    "deferred": "refer", "op_defer_from": "op_refer_from", "op_defer_to": "op_refer_to"
}  # fmt: skip


def as_formerly(content: Any, keys: dict[str, str] = FORMER) -> Any:
    """The content with former keys; the names of choices are the user's."""
    if isinstance(content, dict):
        return {
            keys.get(key, key): {name: as_formerly(choice, keys) for name, choice in value.items()}
            if key == "choices" and isinstance(value, dict)
            else as_formerly(value, keys)
            for key, value in content.items()
        }
    return [as_formerly(item, keys) for item in content] if isinstance(content, list) else content


def property_names(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(property_names, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | set().union(*map(property_names, schema.values()))


def former_package(packaged: onnx.ModelProto) -> onnx.ModelProto:
    """The package under the names of former versions."""
    model = copy.deepcopy(packaged)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [FORMER_IN_PACKAGES.get(name, name) for name in names]
    for item in (*model.graph.initializer, *model.graph.output):
        item.name = FORMER_IN_PACKAGES.get(item.name, item.name)
    metadata = json.loads(model.metadata_props[0].value)
    keys = {"defer_from": "refer_from", "defer_to": "refer_to", "decision_boundary": "score_at_half"}
    helper.set_model_props(model, {PROPERTY: json.dumps(as_formerly(metadata, keys))})
    return model


def test_a_recorded_file_with_former_keys_is_the_same_settings() -> None:
    former = as_formerly(CONTENT)
    assert former["operating"].keys() >= {"refer"}
    assert former != CONTENT
    assert Params.model_validate(with_current_keys(former)) == Params.model_validate(CONTENT)


def test_no_key_of_today_is_a_former_one() -> None:
    names = property_names(json.loads(params_schema()))
    assert not names & KEYS.keys()
    assert names >= set(KEYS.values())


def test_names_that_users_choose_stay() -> None:
    content = {"detectors": {"views": {"kind": "ensemble", "members": {"top": {"top": 0.1}}}}}
    assert with_current_keys(content) == {
        "detectors": {"views": {"kind": "ensemble", "members": {"top": {"top_fraction": 0.1}}}}
    }


def test_dotted_names_and_values() -> None:
    space = {"space": {"recipe.views": {"choices": [1, 2]}}}
    assert with_current_keys(space) == {"space": {"recipe.tta": {"choices": [1, 2]}}}
    assert current_param("cnn.training.average") == "cnn.training.ema_decay"
    assert current_param("members.top.recipe.views") == "members.top.recipe.tta"
    assert current_value("recipe.balance", "triple") == "oversample_augmented"
    choices = {"recipe.balance": {"choices": ["none", "triple"]}, "layers": {"choices": {"top": {"paint": 3}}}}
    assert with_current_keys(choices) == {
        "recipe.balance": {"choices": ["none", "oversample_augmented"]},
        "layers": {"choices": {"top": {"output_kernel": 3}}},
    }
    assert with_current_keys({"balance": "triple"}) == {"balance": "oversample_augmented"}


def test_a_package_of_a_former_version_screens_as_one_of_today() -> None:
    images = np.random.default_rng(1).integers(2, 256, (20, SIZE, SIZE)).astype(np.uint8)
    scores = PackagedDetector(scoring_graph(mean_network(), SIZE).SerializeToString()).score(images).astype(float)
    low, middle, high = map(float, np.quantile(scores, [0.3, 0.5, 0.8]))
    point = OperatingPoint("youden", middle, low, high, (0.1, 0.2), "platt", LogisticCurve(1.0, 0.0))
    metadata = {"detector": "mean", "image_size": SIZE, "decision_boundary": 0.25}
    made = package(scoring_graph(mean_network(), SIZE), point, metadata)
    former = former_package(made)
    assert "refer" in [output.name for output in former.graph.output]

    today, then = (PackagedDetector(model.SerializeToString()) for model in (made, former))
    assert then.metadata == today.metadata
    for name, values in vars(today.screen(images)).items():
        np.testing.assert_array_equal(getattr(then.screen(images), name), values)
    assert 0 < then.screen(images).deferred.sum() < len(images)
    scoring, described = scoring_part(former)
    assert described == metadata
    assert [output.name for output in scoring.graph.output] == ["score"]
