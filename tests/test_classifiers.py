from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from factories import PARAMS_YAML, image_set, new_checkout, one_sentence
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import Params, load_params
from medscreen.data.images import ImageSet
from medscreen.detectors.build import build
from medscreen.detectors.shared import classifier as classifiers
from medscreen.detectors.shared import pretrained
from medscreen.detectors.shared.base import Detector, score
from medscreen.detectors.shared.class_targets import drawn_equally_often
from medscreen.detectors.shared.losses import cross_entropy
from medscreen.detectors.shared.pretrained import read_weights
from medscreen.detectors.shared.training import shuffled
from medscreen.errors import MedscreenError
from medscreen.pipeline import fit as fitting_stage
from medscreen.pipeline.fit import _run_key
from medscreen.workspace.layout import Layout

SIZE = 16
TRAIN, TUNE = image_set(24, SIZE, 1).take(np.arange(20)), image_set(8, SIZE, 2)
TRAINING = {
    "epochs": 1, "batch_size": 8, "optimizer": "adamw",
    "learning_rate": 0.01, "weight_decay": 0.0, "ema_decay": 0.0, "patience": 1,
}  # fmt: skip
RECIPE = {
    "loss": "cross_entropy", "focal_gamma": 2.0, "label_smoothing": 0.0, "mixup": 0.0, "balance": "none",
    "augment": {"pose": 0.0, "exposure": 0.0, "grain": 0.0}, "tta": 1,
}  # fmt: skip
CNN = {
    "kind": "cnn", "variant": "residual", "findings": [], "width": 2, "unshuffle": 2, "pooling": "mean",
    "recipe": RECIPE,
    "training": TRAINING,
}  # fmt: skip
LITE = {"name": "efficientnet_lite0", "weights": "pretrained", "channels": "repeat", "side": 32}
TRANSFER = {
    "kind": "transfer", "findings": [], "backbone": LITE, "frozen": 3,
    "rate_decay": 0.5, "dropout": 0.0, "recipe": RECIPE, "training": TRAINING,
}  # fmt: skip


def with_weights(source: str) -> dict[str, Any]:
    return TRANSFER | {"backbone": LITE | {"weights": source}}


def entry(settings: dict[str, Any], **recipe: Any) -> DetectorParams:
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(
        settings | {"recipe": settings["recipe"] | recipe}
    )
    return params


def built(settings: dict[str, Any], **recipe: Any) -> Detector:
    return build(entry(settings, **recipe), SIZE, ComputeParams(threads=1, device="cpu"), 7)


class Asked(SimpleNamespace):
    """Arguments that the training loop was called with."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    seen = Asked()

    def note(network: Any, loss: Any, train: Any, tune: Any, recipe: Any, on_epoch: Any) -> None:
        seen.__dict__.update(network=network, loss=loss, train=train, tune=tune, recipe=recipe)
        network.eval()

    monkeypatch.setattr(classifiers, "fit_network", note)
    return seen


def unbalanced() -> ImageSet:
    """15 healthy, 5 abnormal."""
    return TRAIN.take(np.concatenate([np.flatnonzero(TRAIN.labels == 0), np.flatnonzero(TRAIN.labels == 1)[:5]]))


@pytest.mark.parametrize(("loss", "gamma"), [("cross_entropy", 0.0), ("focal", 2.0)])
@pytest.mark.parametrize("balance", ["weights", "none"])
def test_the_loss_is_the_recipes(asked: Asked, loss: str, gamma: float, balance: str) -> None:
    built(CNN, loss=loss, balance=balance, label_smoothing=0.2).fit(unbalanced(), TUNE)
    images, shares = asked.train.images, asked.train.labels
    numbers = shares.sum(0)
    weights = numbers.sum() / (2 * numbers) if balance == "weights" else torch.ones(2)
    expected = cross_entropy(asked.network(images), shares * 0.8 + 0.1, weights, gamma)
    torch.testing.assert_close(asked.loss(images, shares)["loss"], expected)


def test_the_rarest_class_is_tripled_in_train_alone(asked: Asked) -> None:
    images = unbalanced()
    built(CNN, balance="oversample_augmented").fit(images, TUNE)
    assert len(asked.train.images) == len(images) + 2 * 5
    assert len(asked.tune.images) == len(TUNE)


def test_classes_are_drawn_if_the_recipe_says_so(asked: Asked) -> None:
    for balance, order in (("sampler", drawn_equally_often), ("weights", shuffled)):
        built(CNN, balance=balance).fit(TRAIN, TUNE)
        assert asked.recipe.order is order


def test_images_are_changed_and_mixed_if_the_recipe_says_so(asked: Asked) -> None:
    built(CNN).fit(TRAIN, TUNE)
    batch = asked.train.images, asked.train.labels
    for found, given in zip(asked.recipe.batch(*batch), batch, strict=True):
        assert torch.equal(found, given)
    built(CNN, mixup=1.0, augment={"pose": 0.0, "exposure": 1.0, "grain": 0.0}).fit(TRAIN, TUNE)
    images, shares = asked.recipe.batch(*batch)
    assert not torch.equal(images, batch[0])
    assert ((shares > 0.01) & (shares < 0.99)).any()


def test_a_mirror_image_scores_the_same_if_views_hold_it() -> None:
    for views, same in ((1, False), (2, True), (5, False), (10, True)):
        detector = built(CNN, tta=views)
        scores, mirrored = score(detector, TUNE.pixels), score(detector, TUNE.pixels[:, :, ::-1])
        assert np.allclose(scores, mirrored, atol=1e-6) == same, views


def test_a_class_without_images_is_a_sentence() -> None:
    for images, missing in ((TRAIN.healthy(), "abnormal"), (TRAIN.take(TRAIN.labels == 1), "normal")):
        with pytest.raises(MedscreenError, match=f"the class '{missing}'") as error:
            built(CNN).fit(images, TUNE)
        one_sentence(error)


def test_weights_are_read_by_fit_alone(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    read = []

    def note(*arguments: Any) -> Any:
        read.append(arguments)
        return read_weights(*arguments)

    monkeypatch.setattr(pretrained, "read_weights", note)
    detector = built(TRANSFER)
    score(detector, TUNE.pixels)
    assert not read
    detector.fit(TRAIN, TUNE)
    assert read == [("efficientnet_lite0", "pretrained")]


def test_frozen_stages_are_those_of_the_file_and_the_others_have_learned() -> None:
    weights = read_weights("efficientnet_lite0", "pretrained")
    assert weights is not None
    state = built(TRANSFER).fit(TRAIN, TUNE).network.state_dict()
    stages = "classifier.classifier.backbone.stages"
    assert torch.equal(state[f"{stages}.0.0.weight"], weights["_conv_stem.weight"])
    assert torch.equal(state[f"{stages}.2.0._depthwise_conv.weight"], weights["_blocks.3._depthwise_conv.weight"])
    assert torch.equal(state[f"{stages}.2.1._bn1.running_mean"], weights["_blocks.4._bn1.running_mean"])
    learned = state[f"{stages}.3.0._depthwise_conv.weight"] - weights["_blocks.5._depthwise_conv.weight"]
    assert 0 < learned.abs().max() < 0.1


def test_earlier_stages_learn_more_slowly(asked: Asked) -> None:
    built(TRANSFER).fit(TRAIN, TUNE)
    assert [share for _, share in asked.recipe.groups(asked.network)] == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(("layers", "filters", "fine"), [(2, [3, 4], True), (1, [3, 4], True), (3, [3, 4], False)])
def test_every_layer_has_its_filters(layers: int, filters: list[int], fine: bool) -> None:
    settings = {
        "kind": "cnn", "variant": "plain", "findings": [], "layers": layers, "filters": filters, "neurons": 3,
        "conv_dropout": 0.0,
        "dense_dropout": 0.0, "recipe": RECIPE, "training": TRAINING,
    }  # fmt: skip
    if not fine:
        with pytest.raises(ValidationError, match="fewer entries than layers: 3"):
            built(settings)
        return
    used = sum(isinstance(module, torch.nn.Conv2d) for module in built(settings).network.modules())
    assert used == layers


def checkout(home: Path) -> Layout:
    return Layout(new_checkout(home), home)


def test_another_file_of_weights_is_another_training(tmp_path: Path) -> None:
    layout = checkout(tmp_path)
    file = tmp_path / "weights.safetensors"
    params = load_params(PARAMS_YAML)
    detectors = {"cnn": entry(CNN), "transfer": entry(with_weights(str(file)))}
    params = params.model_copy(update={"detectors": detectors})
    data = {split: {"digest": "d"} for split in ("train", "tune")}
    keys = []
    for content in (None, b"one", b"two"):
        if content:
            file.write_bytes(content)
        keys.append(tuple(_run_key(layout, params, entry, data) for entry in detectors.values()))
    assert len({key for key, _ in keys}) == 1
    assert len({key for _, key in keys}) == 3
    file.write_bytes(b"one")
    assert _run_key(layout, params, detectors["transfer"], data) == keys[1][1]


def test_a_training_is_named_by_all_that_it_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, layout = load_params(PARAMS_YAML), checkout(tmp_path)
    data = {split: {"digest": split} for split in ("train", "tune", "val")}
    one = entry(CNN)

    def key(params: Params = params, settings: DetectorParams = one, **digests: str) -> str:
        return _run_key(
            layout, params, settings, data | {split: {"digest": digest} for split, digest in digests.items()}
        )

    others = [
        key(train="other"),
        key(tune="other"),
        key(settings=entry(CNN | {"width": 3})),
        key(params.model_copy(update={"seed": 8})),
        key(params.model_copy(update={"compute": ComputeParams(threads=1, device="cuda")})),
    ]
    assert key(val="other") == key()
    before = key()
    monkeypatch.setattr(fitting_stage, "code_digest", lambda paths: f"other code at {paths}")
    assert len({before, *others, key()}) == 7


def test_weights_that_come_with_no_file_have_none() -> None:
    assert entry(TRANSFER).files == entry(with_weights("none")).files == entry(CNN).files == ()
    assert entry(with_weights("~/net.pt")).files == (Path.home() / "net.pt",)
