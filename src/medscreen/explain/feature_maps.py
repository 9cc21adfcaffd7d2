"""Feature maps of the convolutions of a trained network for one image. Needs torch and the state of the training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams, with_current_kinds
from medscreen.config.former_names import with_current_keys
from medscreen.data.images import Pixels
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import as_images
from medscreen.errors import MedscreenError

_MOST_LAYERS = 8


def trained_network(fitted: Path, metadata: Mapping[str, Any], run_key: str) -> nn.Module:
    """Loads the network of a package from the output folder of `fit`.

    Raises MedscreenError if the folder is missing, damaged or of another training.
    """
    try:
        is_the_same = json.loads((fitted / "fit.json").read_text())["run_key"] == run_key
        state = load_file(fitted / "state.safetensors")
    except OSError as error:
        raise MedscreenError(
            f"models/{fitted.parent.name}/fitted: not found; --layers needs it. Run `dvc repro` or `dvc pull`, or "
            "leave out --layers."
        ) from error
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise MedscreenError(
            f"models/{fitted.parent.name}/fitted: damaged ({type(error).__name__}). Run `dvc repro` or `dvc pull`, or "
            "leave out --layers."
        ) from error
    if not is_the_same:
        raise MedscreenError(
            f"models/{fitted.parent.name}/fitted: not the training of this version. Check out the commit of "
            "the version and run `dvc pull`, or leave out --layers."
        )
    recorded = with_current_kinds(with_current_keys(metadata["parameters"]))
    entry: DetectorParams = TypeAdapter(DetectorParams).validate_python(recorded)
    detector = build(entry, int(metadata["image_size"]), ComputeParams(threads=1, device="cpu"), 0)
    detector.network.load_state_dict(state)
    return detector.network.eval()


def feature_maps(network: nn.Module, pixels: Pixels) -> dict[str, NDArray[np.float32]]:
    """Layer name -> feature maps (C, h, w) of one image (S, S), in the order of computation.

    At most 8 convolutional layers, evenly spaced; empty for a network without convolutions.
    """
    found: dict[str, NDArray[np.float32]] = {}

    def keep(name: str, output: Tensor) -> None:
        # with test-time augmentation, the first view is the image itself
        found.setdefault(name, output[0].numpy())

    layers = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, module in network.named_modules()
        if isinstance(module, layers)
    ]
    try:
        with torch.inference_mode():
            network(as_images(pixels[None]))
    finally:
        for hook in hooks:
            hook.remove()
    names = list(found)
    chosen = np.unique(np.linspace(0, len(names) - 1, min(len(names), _MOST_LAYERS)).round().astype(int))
    return {names[i]: found[names[i]] for i in chosen} if names else {}
