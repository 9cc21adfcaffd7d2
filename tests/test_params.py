import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from factories import PARAMS_YAML, REPOSITORY, one_sentence
from medscreen.config.datasets import FoldersParams, PhantomParams
from medscreen.config.detectors.autoencoder import PlainAutoencoderParams
from medscreen.config.detectors.cnn import ResidualCnnParams
from medscreen.config.detectors.statistic import StatisticParams
from medscreen.config.json_schema import params_schema
from medscreen.config.params import Params, load_params
from medscreen.errors import MedscreenError

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def content() -> dict[str, Any]:
    return yaml.safe_load(PARAMS_YAML.read_text())


def load(content: Any, folder: Path) -> Params:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_params(path)


def refusal(content: Any, folder: Path) -> str:
    with pytest.raises(MedscreenError) as error:
        load(content, folder)
    return one_sentence(error)


def test_the_projects_own_file_is_valid() -> None:
    params = load_params(PARAMS_YAML)
    assert params.dataset in params.datasets
    assert isinstance(params.datasets["phantom"], PhantomParams)
    kinds = {type(entry) for entry in params.detectors.values()}
    assert {StatisticParams, PlainAutoencoderParams, ResidualCnnParams} <= kinds
    assert params.detector("gradient").is_baseline
    assert not params.detector("cnn").is_baseline


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda c: c.update(sead=1), "sead"),
        (lambda c: c["curation"].update(tune=0.1), "curation.tune"),
        (lambda c: c["datasets"]["phantom"].update(colour="grey"), "datasets.phantom.colour"),
        (lambda c: c["detectors"]["cnn"].update(depth=3), "detectors.cnn.depth"),
        (lambda c: c["detectors"]["cnn"]["training"].update(momentum=0.9), "detectors.cnn.training.momentum"),
        (lambda c: c["operating"].update(threshold={"policy": "youden", "sd": 2.0}), "operating.threshold.sd"),
        (lambda c: c["promotion"].update(force=True), "promotion.force"),
    ],
)
def test_an_unknown_key_is_refused_by_name(content: dict[str, Any], tmp_path: Path, change: Change, key: str) -> None:
    change(content)
    assert refusal(content, tmp_path).startswith(f"params.yaml: {key} is not a known key")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda c: c.pop("seed"), "seed"),
        (lambda c: c.pop("detectors"), "detectors"),
        (lambda c: c["curation"].pop("val_fraction"), "curation.val_fraction"),
        (lambda c: c["datasets"]["phantom"].pop("root"), "datasets.phantom.root"),
        (lambda c: c["detectors"]["autoencoder"].pop("bottleneck"), "detectors.autoencoder.bottleneck"),
        (lambda c: c["detectors"]["cnn"]["training"].pop("epochs"), "detectors.cnn.training.epochs"),
        (lambda c: c["operating"].update(threshold={"policy": "mean_sd"}), "operating.threshold.sd"),
    ],
)
def test_a_missing_key_is_named(content: dict[str, Any], tmp_path: Path, change: Change, key: str) -> None:
    change(content)
    assert refusal(content, tmp_path).startswith(f"params.yaml: {key} is missing")


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        (lambda c: c.update(seed=-1), "seed", "-1"),
        (lambda c: c["curation"].update(test_fraction=1.0), "curation.test_fraction", "1.0"),
        (lambda c: c["datasets"]["phantom"].update(image_size=8), "datasets.phantom.image_size", "8"),
        (lambda c: c["datasets"]["phantom"].update(contrast=float("nan")), "datasets.phantom.contrast", "nan"),
        (lambda c: c["detectors"]["cnn"].update(unshuffle=9), "detectors.cnn.unshuffle", "9"),
        (lambda c: c["detectors"]["cnn"]["training"].update(epochs=0), "detectors.cnn.training.epochs", "0"),
        (lambda c: c["evaluation"].update(resamples=99), "evaluation.resamples", "99"),
        (lambda c: c["compute"].update(threads=0), "compute.threads", "0"),
        (lambda c: c["promotion"].update(margin_over_baseline=float("inf")), "promotion.margin_over_baseline", "inf"),
        (
            lambda c: c["operating"].update(threshold={"policy": "healthy_quantile", "quantile": 1.0}),
            "operating.threshold.quantile",
            "1.0",
        ),
        (
            lambda c: c["evaluation"]["threshold_comparison"].append({"policy": "sensitivity", "at_least": 1.5}),
            "evaluation.threshold_comparison.8.at_least",
            "1.5",
        ),
    ],
)
def test_a_value_out_of_range_is_named(
    content: dict[str, Any], tmp_path: Path, change: Change, key: str, value: str
) -> None:
    change(content)
    assert refusal(content, tmp_path).startswith(f"params.yaml: {key} = {value} is not valid: ")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda c: c.update(seed="seven"), "seed"),
        (lambda c: c.update(curation=None), "curation"),
        (lambda c: c.update(detectors={}), "detectors"),
        (lambda c: c["detectors"].update({"My CNN": {"kind": "statistic", "variant": "gradient"}}), "detectors.My CNN"),
        (lambda c: c["compute"].update(device="tpu"), "compute.device"),
        (lambda c: c["promotion"].update(metric="accuracy"), "promotion.metric"),
        (lambda c: c["datasets"]["chest-xray"].update(normal_classes=[]), "datasets.chest-xray.normal_classes"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(content: dict[str, Any], tmp_path: Path, change: Change, key: str) -> None:
    change(content)
    assert refusal(content, tmp_path).startswith(f"params.yaml: {key} = ")


@pytest.mark.parametrize(
    ("entry", "line", "key"),
    [
        ("chest-xray", "normal_classes: [no]", "normal_classes.0 is False"),
        ("chest-xray", "normal_classes: [NORMAL, yes]", "normal_classes.1 is True"),
        ("chest-xray", "normal_classes: [0]", "normal_classes.0 is 0"),
        ("rsna-2023-abdominal-trauma", "normal_labels: [No]", "normal_labels.0 is False"),
        ("rsna-2023-abdominal-trauma", "normal_labels: [1.5]", "normal_labels.0 is 1.5"),
        ("rsna-2023-abdominal-trauma", "table: on", "table is True"),
    ],
)
def test_a_word_that_yaml_takes_for_something_else_wants_quotes(
    content: dict[str, Any], tmp_path: Path, entry: str, line: str, key: str
) -> None:
    content["datasets"][entry] |= yaml.safe_load(line)
    assert refusal(content, tmp_path) == (
        f"params.yaml: datasets.{entry}.{key} in YAML, but has to be text. Put it in quotes, such as 'no', 'on' or '0'."
    )


def test_what_stands_in_quotes_is_text(content: dict[str, Any], tmp_path: Path) -> None:
    content["datasets"]["chest-xray"] |= yaml.safe_load("normal_classes: ['no', '0']")
    loaded = load(content, tmp_path).datasets["chest-xray"]
    assert isinstance(loaded, FoldersParams)
    assert loaded.normal_classes == ["no", "0"]


def test_an_active_dataset_that_is_no_entry_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["dataset"] = "mnist"
    message = refusal(content, tmp_path)
    assert "dataset: 'mnist' is not an entry of datasets: (bone-fracture, chest-xray, phantom, " in message


def test_fractions_must_leave_something_to_train_on(content: dict[str, Any], tmp_path: Path) -> None:
    content["curation"] |= {"tune_fraction": 0.35, "val_fraction": 0.3, "test_fraction": 0.3}
    message = refusal(content, tmp_path)
    assert "stay below 0.9" in message
    assert "correct curation" in message


@pytest.mark.parametrize("text", ["", "just words\n", "- 1\n- 2\n"])
def test_content_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(MedscreenError, match=r"params\.yaml: its content = ") as error:
        load_params(path)
    one_sentence(error)


def test_broken_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: [1, 2\ndataset: x\n")
    with pytest.raises(MedscreenError, match="invalid YAML") as error:
        load_params(path)
    one_sentence(error)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("# Größe\nseed: 1\n".encode("latin-1"))
    with pytest.raises(MedscreenError) as error:
        load_params(path)
    one_sentence(error)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedscreenError, match=r"params\.yaml can't be read") as error:
        load_params(tmp_path / "params.yaml")
    one_sentence(error)


def test_an_unknown_detector_names_the_roster() -> None:
    params = load_params(PARAMS_YAML)
    with pytest.raises(MedscreenError, match="no detector 'vea'") as error:
        params.detector("vea")
    assert all(name in one_sentence(error) for name in params.detectors)


def test_loaded_values_do_not_change() -> None:
    params = load_params(PARAMS_YAML)
    with pytest.raises(ValidationError, match="frozen"):
        params.seed = 8
    with pytest.raises(ValidationError, match="frozen"):
        params.curation.val_fraction = 0.5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["detectors"]["cnn"].update(kind="forest"), "detectors.cnn.kind is 'forest'; it has to be"),
        (lambda c: c["detectors"]["cnn"].pop("kind"), "detectors.cnn.kind is missing; it has to be 'statistic'"),
        (
            lambda c: c["operating"].update(threshold={}),
            "operating.threshold.policy is missing; it has to be 'mean_sd'",
        ),
        (lambda c: c["datasets"]["phantom"].update(kind="ct"), "datasets.phantom.kind is 'ct'; it has to be"),
        (
            lambda c: c["operating"].update(threshold={"policy": "guess"}),
            "operating.threshold.policy is 'guess'; it has to be 'mean_sd'",
        ),
    ],
)
def test_a_choice_that_is_none_names_the_choices(
    content: dict[str, Any], tmp_path: Path, change: Change, says: str
) -> None:
    change(content)
    assert refusal(content, tmp_path).startswith(f"params.yaml: {says}")


@pytest.mark.parametrize(("key", "value"), [("seed", True), ("seed", "7"), ("seed", 7.0), ("seed", 2**32)])
def test_a_number_is_read_as_written(content: dict[str, Any], tmp_path: Path, key: str, value: object) -> None:
    content[key] = value
    assert f"{key} = " in refusal(content, tmp_path)


@pytest.mark.parametrize("seeds", [[], [8], [8, 9, 0]])
def test_further_seeds_are_read(content: dict[str, Any], tmp_path: Path, seeds: list[int]) -> None:
    content["seeds"] = seeds
    assert load(content, tmp_path).seeds == seeds


@pytest.mark.parametrize("seeds", [[7], [8, 7], [8, 8], [9, 8, 9], [7, 7]])
def test_a_seed_named_twice_is_refused(content: dict[str, Any], tmp_path: Path, seeds: list[int]) -> None:
    content["seeds"] = seeds
    assert content["seed"] == 7
    expected = f"params.yaml: seeds: {seeds} lists a seed twice, or 7, the value of seed; correct it."
    assert refusal(content, tmp_path) == expected


@pytest.mark.parametrize(
    ("seeds", "key"), [([8, -1], "seeds.1"), ([2**31], "seeds.0"), (8, "seeds"), ([1.5], "seeds.0")]
)
def test_a_further_seed_that_is_none_is_named(content: dict[str, Any], tmp_path: Path, seeds: object, key: str) -> None:
    content["seeds"] = seeds
    assert refusal(content, tmp_path).startswith(f"params.yaml: {key} = ")


NOVELTY: dict[str, Any] = {
    "kind": "novelty",
    "features": {"kind": "hog", "cells": 4, "bins": 9, "block": 2, "signed": True},
    "distance": {"kind": "mahalanobis"},
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e["features"].update(cells=99), "detectors.hog.features.cells = 99 is not valid"),
        (lambda e: e["features"].pop("bins"), "detectors.hog.features.bins is missing"),
        (lambda e: e["features"].update(depth=3), "detectors.hog.features.depth is not a known key"),
        (lambda e: e["features"].update(kind="sift"), "detectors.hog.features.kind is 'sift'; it has to be 'pyramid'"),
        (lambda e: e["features"].update(cells=1), "block = 2 is more than cells = 1; correct detectors.hog.features."),
        (lambda e: e.update(distance=None), "detectors.hog.distance = None is not valid"),
        (lambda e: e.pop("distance"), "detectors.hog.distance is missing"),
    ],
)
def test_a_key_inside_a_choice_inside_a_choice_is_named(
    content: dict[str, Any], tmp_path: Path, change: Change, says: str
) -> None:
    entry = copy.deepcopy(NOVELTY)
    content["detectors"]["hog"] = entry  # a name that is also a choice
    load(content, tmp_path)
    change(entry)
    assert says in refusal(content, tmp_path)


def test_a_depth_named_twice_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["detectors"]["padim"] = {
        "kind": "patches",
        "variant": "padim",
        "backbone": {"name": "resnet18", "weights": "none", "channels": "sum", "side": 32},
        "depths": [2, 2],
        "grid": 4,
        "features": 8,
        "top_fraction": 0.1,
    }
    assert "[2, 2] lists a depth twice; correct detectors.padim.depths." in refusal(content, tmp_path)


EMBEDDING = {
    "kind": "embedding",
    "findings": [],
    "backbone": {"kind": "public", "name": "resnet18", "weights": "none", "channels": "sum", "side": 32},
    "depths": [1, 2],
    "grid": 2,
    "folds": 3,
    "head": {"kind": "knn", "neighbors": [3], "temperature": [0.1]},
}
OWN = {"kind": "own", "width": 4, "unshuffle": 2}
TRAINING = {
    "epochs": 1,
    "batch_size": 2,
    "optimizer": "adamw",
    "learning_rate": 0.1,
    "weight_decay": 0.1,
    "ema_decay": 0.0,
    "patience": 1,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e["backbone"].update(sides=32), "detectors.e.backbone.sides is not a known key"),
        (lambda e: e["backbone"].pop("side"), "detectors.e.backbone.side is missing"),
        (lambda e: e["head"].update(neighbors=[3, 0]), "detectors.e.head.neighbors.1 = 0 is not valid"),
        (lambda e: e["head"].update(temperature=[0.001]), "detectors.e.head.temperature.0 = 0.001 is not valid"),
        (lambda e: e["head"].update(kind="forest"), "detectors.e.head.kind is 'forest'; it has to be 'logistic', "),
        (lambda e: e.update(depths=[2, 2]), r"\[2, 2\] lists a depth twice; correct detectors.e.depths"),
        (lambda e: e.update(depths=[6]), "detectors.e.depths.0 = 6 is not valid"),
        (
            lambda e: e.update(depths=[4], backbone=OWN | {"training": TRAINING}),
            r"depths: \[4\] exceeds the 3 stages of a backbone of kind own; correct detectors.e",
        ),
        (lambda e: e.update(backbone=OWN), "detectors.e.backbone.training is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_inside_an_embedding_is_named_as_in_the_file(
    content: dict[str, Any], tmp_path: Path, change: Change, says: str
) -> None:
    entry = copy.deepcopy(EMBEDDING)
    content["detectors"]["e"] = entry
    load(content, tmp_path)
    change(entry)
    assert re.match(rf"params\.yaml: {says}", refusal(content, tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["net"]["training"].update(epochs=0), r"both.members.net.training.epochs = 0 is not valid"),
        (lambda m: m["net"].pop("width"), "both.members.net.width is missing"),
        (lambda m: m.pop("net"), "both.members = "),
        (lambda m: m.update({"My net": {"kind": "statistic", "variant": "gradient"}}), "both.members.My net = "),
        (lambda m: m["plain"].update(kind="ensemble"), "both.members.plain.kind is 'ensemble'"),
    ],
)
def test_what_is_wrong_inside_an_ensemble_is_named_as_in_the_file(
    content: dict[str, Any], tmp_path: Path, change: Change, says: str
) -> None:
    members = {"plain": {"kind": "statistic", "variant": "gradient"}, "net": copy.deepcopy(content["detectors"]["cnn"])}
    content["detectors"]["both"] = {"kind": "ensemble", "combine": "rank", "members": members}
    load(content, tmp_path)
    change(members)
    assert re.match(rf"params\.yaml: detectors\.{says}", refusal(content, tmp_path))


def test_members_of_an_ensemble_can_be_anchors(content: dict[str, Any], tmp_path: Path) -> None:
    entry = content["detectors"]["cnn"]
    content["detectors"]["both"] = {"kind": "ensemble", "combine": "rank", "members": {"a": entry, "b": entry}}
    text = yaml.safe_dump(content)
    assert "&id" in text
    params = load(content, tmp_path)
    assert params.detectors["both"].members["a"] == params.detector("cnn")  # type: ignore[union-attr]
    assert params.detector("both").epochs == 0


def test_the_schema_for_editors_is_that_of_the_settings(content: dict[str, Any]) -> None:
    text = (REPOSITORY / "docs" / "params.schema.json").read_text()
    assert text == params_schema(), "make schema writes it"
    jsonschema.validate(content, json.loads(text))
    content["detectors"]["cnn"]["training"]["epochs"] = 0
    with pytest.raises(jsonschema.ValidationError, match=r"under any of the given schemas|epochs"):
        jsonschema.validate(content, json.loads(text))
