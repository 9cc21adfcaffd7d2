"""Supervised CNN detector: a small residual network, or a plain CNN with one hidden layer."""

from collections.abc import Callable

from torch import nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.cnn import PlainCnnParams, ResidualCnnParams
from medscreen.detectors.cnn.plain_cnn import PlainCnn
from medscreen.detectors.shared.classifier import ClassifierDetector
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.residual_network import ResidualClassifier


class CnnDetector(ClassifierDetector):
    """Convolutional network trained on both classes."""

    params: ResidualCnnParams | PlainCnnParams

    def __init__(
        self, params: ResidualCnnParams | PlainCnnParams, size: int, compute: ComputeParams, seed: int
    ) -> None:
        super().__init__(params, size, compute, seed)

    def classifier(self, outputs: int, backbone: Callable[[BackboneParams], Backbone]) -> nn.Module:  # noqa: ARG002
        """Untrained network: images (N, 1, S, S) -> logits (N, outputs)."""
        params = self.params
        match params:
            case ResidualCnnParams():
                return ResidualClassifier(params.width, params.unshuffle, params.pooling, outputs)
            case PlainCnnParams():
                filters, dropouts = params.filters[: params.layers], (params.conv_dropout, params.dense_dropout)
                return PlainCnn(self.size, filters, params.neurons, outputs, dropouts)
