"""Supervised classifiers: loss, class balancing and training recipe."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.classifier import ClassifierEntry
from medscreen.data.images import ImageSet
from medscreen.detectors.shared.augmentation import augment_films
from medscreen.detectors.shared.base import OnEpoch, ignore
from medscreen.detectors.shared.class_targets import (
    classified,
    drawn_equally_often,
    require_every_class,
    weighing_the_same,
    with_rarest_thrice,
)
from medscreen.detectors.shared.layers.abnormal_logit import AnyFindingLogit, OneLogit
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.tta import TtaClassifier
from medscreen.detectors.shared.losses import cross_entropy, mixed, smoothed
from medscreen.detectors.shared.pretrained import bare_backbone, read_backbone
from medscreen.detectors.shared.training import Examples, Loss, Recipe, fit_network, seeded


class ClassifierDetector(ABC):
    """Network trained on both classes; the score is the log odds of abnormal (any finding)."""

    decision_boundary: float | None = 0.0

    def __init__(self, params: ClassifierEntry, size: int, compute: ComputeParams, seed: int) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.findings = ("normal", *params.findings) if params.findings else ()
        self.network: nn.Module = self._scoring(self._fresh(bare_backbone))

    def _fresh(self, backbone: Callable[[BackboneParams], Backbone]) -> nn.Module:
        seeded(self.seed)
        return self.classifier(len(self.findings) or 1, backbone)

    @abstractmethod
    def classifier(self, outputs: int, backbone: Callable[[BackboneParams], Backbone]) -> nn.Module:
        """Untrained network: images (N, 1, S, S) -> logits (N, outputs); `backbone` builds its backbone, if any."""

    def _scoring(self, classifier: nn.Module) -> nn.Module:
        averaged = TtaClassifier(classifier, self.params.recipe.tta)
        return (AnyFindingLogit(averaged) if self.findings else OneLogit(averaged)).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Trains with the loss of the recipe, with early stopping on `tune`.

        Raises MedscreenError if an abnormal image has a finding that is not in the settings, or a class has no image.
        """
        params, recipe = self.params, self.params.recipe
        classifier = self._fresh(read_backbone)
        examples, tuned = (classified(images, params.findings) for images in (train, tune))
        loss = self._loss(classifier, examples)
        if recipe.balance == "oversample_augmented":
            examples = with_rarest_thrice(examples)
        self.network = self._scoring(classifier)
        fit_network(classifier, loss, examples, tuned, self.recipe(classifier), on_epoch)
        return self

    def _loss(self, classifier: nn.Module, examples: Examples) -> Loss:
        recipe = self.params.recipe
        require_every_class(examples.labels, self.params.findings)
        gamma = recipe.focal_gamma if recipe.loss == "focal" else 0.0
        weights = torch.ones(examples.labels.shape[1])
        if recipe.balance == "weights":
            weights = weighing_the_same(examples.labels)

        def loss(images: Tensor, shares: Tensor) -> dict[str, Tensor]:
            targets = smoothed(shares, recipe.label_smoothing)
            return {"loss": cross_entropy(classifier(images), targets, weights.to(images.device), gamma)}

        return loss

    def recipe(self, classifier: nn.Module) -> Recipe:  # noqa: ARG002
        """Training recipe of the classifier."""
        params, recipe = self.params, self.params.recipe
        chosen = Recipe(
            params.training,
            self.compute,
            self.seed,
            augment=partial(augment_films, **recipe.augment.model_dump()),
            mix=partial(mixed, alpha=recipe.mixup) if recipe.mixup else None,
        )
        if recipe.balance == "sampler":
            chosen = replace(chosen, order=drawn_equally_often)
        return chosen
