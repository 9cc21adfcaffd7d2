"""Class activation map: contribution of each position of the last feature map to the log odds of abnormal."""

from typing import Protocol

import torch
from torch import Tensor, nn

from medscreen.detectors.shared.layers.abnormal_logit import OneLogit
from medscreen.detectors.shared.layers.places import Places, interpolation
from medscreen.detectors.shared.layers.tta import TtaClassifier


class LocalClassifier(Protocol):
    """Classifier split into last feature map and head; the gradient of the head is in closed form.

    Exported graphs have no automatic differentiation, and torch.export of a vector-Jacobian product fails on the head's
    parameters (torch 2.15).
    """

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> last feature map (N, C, h, w)."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Last feature map -> logits (N, K)."""
        ...

    def gradient(self, features: Tensor, of_logits: Tensor) -> Tensor:
        """Gradient (N, C, h, w) of the sum of logits x `of_logits` (N, K) by these features."""
        ...

    def places(self, size: int) -> Places:
        """Receptive-field centers of the last feature map in an image of `size` pixels."""
        ...


class ClassActivationMap(nn.Module):
    """HiResCAM: gradient x feature, summed over channels, averaged over views; negative values are set to 0.

    Draelos, Carin 2020 (arXiv 2011.08891). For a head of global average pooling and a linear layer it equals Grad-CAM
    (Selvaraju et al. 2017, arXiv 1610.02391). With a soft maximum the gradient differs between positions and is not
    averaged: on val of the phantom the maximum of HiResCAM hits the lesion in 55 % of the abnormal images, that of
    Grad-CAM in 14 %. Maps of shifted and mirrored views are transformed back.
    """

    unit = "log odds per place"
    rows: Tensor
    columns: Tensor

    def __init__(self, scorer: nn.Module, size: int) -> None:
        super().__init__()
        self.one_logit = isinstance(scorer, OneLogit)
        self.looking: TtaClassifier = scorer.classifier  # type: ignore[assignment]
        self.classifier: LocalClassifier = self.looking.classifier  # type: ignore[assignment]
        first, step = self.classifier.places(size)
        with torch.no_grad():
            number = self.classifier.features(torch.zeros(1, 1, size, size)).shape[-1]
        rows, columns = [], []
        for down, right, mirrored in self.looking.offsets(size):
            rows.append(interpolation(size, number, Places(first + down, step)))
            across = interpolation(size, number, Places(first + right, step))
            # a view is shifted first and mirrored second
            columns.append(interpolation(size, number, Places(first - right, step)).flip(0) if mirrored else across)
        self.register_buffer("rows", torch.stack(rows).unsqueeze(1))
        self.register_buffer("columns", torch.stack(columns).unsqueeze(1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1, S, S) in 0..1 -> maps (N, 1, S, S)."""
        number = self.looking.number
        features = self.classifier.features(self.looking.views(images) if number > 1 else images)
        logits = self.classifier.logits(features)
        logits = logits.view(number, -1, logits.shape[1]).mean(0)
        if self.one_logit:
            of_logits = torch.ones_like(logits)
        else:  # gradient of logsumexp(logits[1:]) - logits[0], the log odds of any finding
            of_logits = torch.cat([-torch.ones_like(logits[:, :1]), torch.softmax(logits[:, 1:], 1)], 1)
        contributions = self.classifier.gradient(features, of_logits.repeat(number, 1)) * features
        found = contributions.sum(1).view(number, -1, *features.shape[2:])
        placed: Tensor = (self.rows @ found @ self.columns.transpose(2, 3)).mean(0)
        return placed.unsqueeze(1).clamp(min=0)
