"""Transfer learning: a pretrained backbone with a new head, fine-tuned on both classes."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.transfer import TransferParams
from medscreen.detectors.shared.classifier import ClassifierDetector
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.training import Recipe
from medscreen.detectors.transfer.networks import TransferClassifier


class TransferDetector(ClassifierDetector):
    """Pretrained backbone, fine-tuned on both classes."""

    params: TransferParams

    def __init__(self, params: TransferParams, size: int, compute: ComputeParams, seed: int) -> None:
        super().__init__(params, size, compute, seed)

    def classifier(self, outputs: int, backbone: Callable[[BackboneParams], Backbone]) -> nn.Module:
        """Backbone with an untrained head: images (N, 1, S, S) -> logits (N, outputs)."""
        return TransferClassifier(backbone(self.params.backbone), self.params.frozen, self.params.dropout, outputs)

    def recipe(self, classifier: nn.Module) -> Recipe:
        """Training recipe of every classifier, with one learning rate per stage of the backbone."""
        recipe = super().recipe(classifier)
        if not isinstance(classifier, TransferClassifier):
            return recipe
        return replace(recipe, groups=lambda _: classifier.groups(self.params.rate_decay))
