"""The Detector protocol, and scoring of images."""

from collections.abc import Callable, Mapping
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.data.images import ImageSet, Pixels, batches

Scores = NDArray[np.float32]
"""(N,): one score per image; a higher score is more abnormal."""

OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Callback after each epoch: its number (from 1) and the named terms of its loss."""


def ignore(epoch: int, terms: Mapping[str, float]) -> None:
    """OnEpoch callback that does nothing."""


KnownState = Callable[[DetectorEntry], Mapping[str, Tensor] | None]
"""Lookup of the network state that a finished training with these settings saved; None if there is none."""


def nothing_known(settings: DetectorEntry) -> None:
    """KnownState without any saved state."""


class Detector(Protocol):
    """Detector: trained on `train` with early stopping on `tune`; then `network` scores images.

    `network` maps float32 images (N, 1, S, S) in 0..1, S the training size, to scores (N,). It is in eval mode,
    deterministic and exportable to ONNX; its tensors are the complete learned state. If `findings` names K classes (the
    first is "normal"), it returns a pair: scores, and probabilities (N, K). `decision_boundary` is the score at which
    both classes are equally likely; None for detectors without probabilities. Each `fit` starts from scratch. During
    `on_epoch`, `network` has the weights of that epoch.
    """

    decision_boundary: float | None
    findings: tuple[str, ...]

    @property
    def network(self) -> nn.Module:
        """The network that scores images."""
        ...

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Trains the detector; one-class detectors use the healthy images only."""
        ...


def score(detector: Detector, pixels: Pixels) -> Scores:
    """Scores (N,) of images (N, S, S)."""
    network = detector.network.eval()
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    with torch.inference_mode():
        scores: Scores = in_batches(lambda images: _score_alone(network(images.to(device))).cpu(), pixels).numpy()
    return scores


def _score_alone(outputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def in_batches(function: Callable[[Tensor], Tensor], pixels: Pixels) -> Tensor:
    """Applies a function of float images (n, 1, S, S) to display gray (N, S, S), batch by batch."""
    return torch.cat([function(as_images(pixels[batch])) for batch in batches(len(pixels), pixels.shape[-1])])


def as_images(pixels: Pixels) -> Tensor:
    """Converts display gray (N, H, W) to float images (N, 1, H, W) in 0..1, the input of networks."""
    return torch.from_numpy(np.array(pixels)).unsqueeze(1).float().div_(255)
