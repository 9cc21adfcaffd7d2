import re
import socket
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from factories import one_sentence, written
from medscreen.detectors.shared import pretrained
from medscreen.detectors.shared.layers.backbones import Backbone, tensors
from medscreen.detectors.shared.pretrained import read_weights
from medscreen.errors import MedscreenError


def drawn(name: Any, seed: int = 0) -> dict[str, Tensor]:
    """Weights that nobody has."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.rand(empty.shape, generator=generator) if empty.is_floating_point() else torch.tensor(5)
        for key, empty in tensors(name).items()
    }


def saved(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


def equal(found: dict[str, Tensor] | None, expected: dict[str, Tensor]) -> None:
    assert found is not None
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_no_weights_are_none() -> None:
    assert read_weights("resnet50", "none") is None


def test_the_wheels_weights_are_real_ones() -> None:
    weights = read_weights("efficientnet_lite0", "pretrained")
    assert weights is not None
    assert weights.keys() == tensors("efficientnet_lite0").keys()
    # a trained batch norm has seen data; and edges, the first thing every network learns, have weights without a mean
    assert weights["_bn0.running_var"].std() > 0.1
    stem = weights["_conv_stem.weight"]
    means, sizes = stem.sum((2, 3)).abs(), stem.abs().sum((2, 3))
    assert (means < 0.2 * sizes).float().mean() > 0.3
    network = Backbone("efficientnet_lite0", "repeat", 64, weights).eval()
    assert torch.equal(network.stages[0][0].weight, stem)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.densenet121.features.", "features."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_names_of_checkpoints_are_understood(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    weights = drawn("densenet121")
    content: Any = {prefix + key: value for key, value in weights.items()}
    content[prefix.removesuffix("features.") + "classifier.weight"] = torch.zeros(14, 1024)
    content |= {"epoch": torch.tensor(3)}
    path = saved(tmp_path / "net.pth", {wrapper: content, "best": 0.8} if wrapper else content)
    equal(read_weights("densenet121", path), weights)


def test_densenets_of_2017_are_understood(tmp_path: Path) -> None:
    weights = drawn("densenet121")
    old = {}
    for key, value in weights.items():
        if "num_batches" in key:  # torch did not count them then
            continue
        old["module.densenet121.features." + re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", key)] = value
    assert "module.densenet121.features.denseblock1.denselayer1.norm.1.weight" in old
    found = read_weights("densenet121", saved(tmp_path / "chexnet.pth.tar", {"state_dict": old}))
    equal(found, {key: value for key, value in weights.items() if "num_batches" not in key})
    Backbone("densenet121", "repeat", 64, found)


def test_safetensors_are_read(tmp_path: Path) -> None:
    weights = drawn("vgg19")
    save_file({f"features.{key}": value for key, value in weights.items()}, tmp_path / "net.safetensors")
    equal(read_weights("vgg19", str(tmp_path / "net.safetensors")), weights)


def test_weights_for_grey_are_three_equal_colours(tmp_path: Path) -> None:
    weights = drawn("resnet18")
    grey = weights["conv1.weight"][:, :1].clone()
    found = read_weights("resnet18", saved(tmp_path / "grey.pt", weights | {"conv1.weight": grey}))
    assert found is not None
    assert found["conv1.weight"].shape == (64, 3, 7, 7)
    torch.testing.assert_close(found["conv1.weight"].sum(1, keepdim=True), grey)
    torch.testing.assert_close(found["conv1.weight"][:, 0], found["conv1.weight"][:, 2])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("resnet18", {}, "conv1.weight is missing"),
        ("resnet18", [1, 2], "conv1.weight is missing"),
        ("resnet18", drawn("vgg19"), "conv1.weight is missing"),
        ("resnet50", drawn("resnet18"), "layer1.0.conv1.weight has the shape"),
        ("resnet18", drawn("resnet50"), "layer1.0.conv1.weight has the shape"),
        ("efficientnet_lite0", drawn("densenet121"), "_conv_stem.weight is missing"),
    ],
)
def test_the_weights_of_another_network_are_a_sentence(tmp_path: Path, name: Any, content: Any, says: str) -> None:
    with pytest.raises(MedscreenError) as error:
        read_weights(name, saved(tmp_path / "net.pt", content))
    message = one_sentence(error)
    assert says in message
    assert "net.pt" in message
    assert name in message


def test_a_missing_or_broken_file_is_a_sentence(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path / "absent.pt", "file not found"),
        (tmp_path, "file not found"),
        (written(tmp_path / "broken.pt", b"PK\x03\x04 nothing"), "can't be read as weights"),
        (written(tmp_path / "broken.safetensors", b"nothing"), "can't be read as weights"),
    ):
        with pytest.raises(MedscreenError, match=says) as error:
            read_weights("resnet18", str(path))
        assert str(path) in one_sentence(error)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (written, (tmp_path / "harm", "done"))

    path = saved(tmp_path / "net.pt", {"conv1.weight": Harm()})
    with pytest.raises(MedscreenError, match="can't be read as weights"):
        read_weights("resnet18", path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("problem", [urllib.error.URLError("no route"), RuntimeError('invalid hash\nvalue "x"')])
def test_without_a_network_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent-torch-home")
    monkeypatch.setattr("os.makedirs", lambda *_, **__: None)
    with pytest.raises(MedscreenError, match="can't be downloaded") as error:
        read_weights("resnet18", "pretrained")
    message = one_sentence(error)
    assert "efficientnet_lite0" in message
    assert "file" in message


def test_a_silent_server_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(*_: Any, **__: Any) -> None:
        seen.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", note)
    before = socket.getdefaulttimeout()
    with pytest.raises(MedscreenError, match="timed out"):
        read_weights("vgg19", "pretrained")
    assert seen == [pretrained._TIMEOUT]
    assert socket.getdefaulttimeout() == before
