"""The protocol of detectors."""

from collections.abc import Callable, Mapping
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.data.images import ImageSet, Pixels, batches

Scores = NDArray[np.float32]
"""One number an image: the higher, the more abnormal."""

OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Is told, after each epoch, its number (from 1) and the named terms of its loss."""


def ignore(epoch: int, terms: Mapping[str, float]) -> None:
    """The OnEpoch of someone who doesn't want to know."""


KnownState = Callable[[DetectorEntry], Mapping[str, Tensor] | None]
"""Settings to the state of the network that a training with them left, None where there is none."""


def nothing_known(settings: DetectorEntry) -> None:
    """The KnownState where nothing is trained yet."""


class Detector(Protocol):
    """Learns from `train`, and from `tune` when to stop; afterwards `network` scores images.

    `network` maps float32 images (N, 1, S, S) in 0..1, S the training size, to scores (N,); it is in eval
    mode, free of randomness, exportable to ONNX, and its tensors are the detector's whole learned state. Where
    `findings` names K classes (the first is "normal"), it gives a pair: the scores and probabilities (N, K).
    `decision_boundary` is the score at which the detector itself thinks both classes equally likely, None for
    detectors that claim no probability. A second `fit` forgets the first. Whoever is told of an epoch may look at
    `network`, which is then what that epoch made of it.
    """

    decision_boundary: float | None
    findings: tuple[str, ...]

    @property
    def network(self) -> nn.Module:
        """The network that scores images."""
        ...

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Learns; one-class detectors look at the healthy images alone."""
        ...


def score(detector: Detector, pixels: Pixels) -> Scores:
    """The detector's scores of images (N, S, S)."""
    network = detector.network.eval()
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    with torch.inference_mode():
        scores: Scores = in_batches(lambda images: _score_alone(network(images.to(device))).cpu(), pixels).numpy()
    return scores


def _score_alone(outputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def in_batches(function: Callable[[Tensor], Tensor], pixels: Pixels) -> Tensor:
    """Applies a function of float images (n, 1, S, S) to display gray (N, S, S), a batch at a time."""
    return torch.cat([function(as_images(pixels[batch])) for batch in batches(len(pixels), pixels.shape[-1])])


def as_images(pixels: Pixels) -> Tensor:
    """Display grey (N, H, W) as the float images (N, 1, H, W) in 0..1 that networks take."""
    return torch.from_numpy(np.array(pixels)).unsqueeze(1).float().div_(255)
