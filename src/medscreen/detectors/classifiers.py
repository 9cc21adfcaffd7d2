"""Detectors that learn from both classes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from medscreen.augmentation import augment_films
from medscreen.detectors.classes import (
    classified,
    drawn_equally_often,
    require_every_class,
    weighing_the_same,
    with_rarest_thrice,
)
from medscreen.detectors.cross_entropy import cross_entropy, mixed, smoothed
from medscreen.detectors.fitting import Examples, Loss, Recipe, fit_network, seeded
from medscreen.detectors.networks.backbones import Backbone
from medscreen.detectors.networks.halving import HalvingClassifier
from medscreen.detectors.networks.odds import OddsOfAnyFinding, OneLogit
from medscreen.detectors.networks.residual import ResidualClassifier
from medscreen.detectors.networks.transfer import TransferClassifier
from medscreen.detectors.networks.views import MeanOfViews
from medscreen.detectors.pretrained import bare_backbone, read_backbone
from medscreen.detectors.protocol import OnEpoch, ignore
from medscreen.images import ImageSet
from medscreen.params import BackboneParams, CnnParams, ComputeParams, TransferParams, TunableCnnParams


class ClassifierDetector:
    """A network trained on both classes; its score is the logit of being abnormal, whichever finding it is."""

    score_at_half: float | None = 0.0

    def __init__(
        self, params: CnnParams | TunableCnnParams | TransferParams, size: int, compute: ComputeParams, seed: int
    ) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.findings = ("normal", *params.findings) if params.findings else ()
        self.network: nn.Module = self._scoring(self._fresh())

    def _fresh(self, backbone: Callable[[BackboneParams], Backbone] = bare_backbone) -> nn.Module:
        """The classifier before it has learned, on a backbone where it stands on one."""
        seeded(self.seed)
        params, outputs = self.params, len(self.findings) or 1
        match params:
            case CnnParams():
                return ResidualClassifier(params.width, params.unshuffle, params.pooling, outputs)
            case TunableCnnParams():
                filters, dropouts = params.filters[: params.layers], (params.conv_dropout, params.dense_dropout)
                return HalvingClassifier(self.size, filters, params.neurons, outputs, dropouts)
            case TransferParams():
                return TransferClassifier(backbone(params.backbone), params.frozen, params.dropout, outputs)

    def _scoring(self, classifier: nn.Module) -> nn.Module:
        looking = MeanOfViews(classifier, self.params.recipe.views)
        return (OddsOfAnyFinding(looking) if self.findings else OneLogit(looking)).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Minimises the cross-entropy as the recipe says.

        Raises MedscreenError if an abnormal image has a finding that is not in the settings, or a class has no image.
        """
        params, recipe = self.params, self.params.recipe
        classifier = self._fresh(read_backbone)
        examples, tuned = (classified(images, params.findings) for images in (train, tune))
        loss = self._loss(classifier, examples)
        if recipe.balance == "triple":
            examples = with_rarest_thrice(examples)
        self.network = self._scoring(classifier)
        fit_network(classifier, loss, examples, tuned, self._recipe(classifier), on_epoch)
        return self

    def _loss(self, classifier: nn.Module, examples: Examples) -> Loss:
        recipe = self.params.recipe
        require_every_class(examples.labels, self.params.findings)
        gamma = recipe.focal_gamma if recipe.loss == "focal" else 0.0
        weights = torch.ones(examples.labels.shape[1])
        if recipe.balance == "weights":
            weights = weighing_the_same(examples.labels)

        def loss(images: Tensor, shares: Tensor) -> dict[str, Tensor]:
            wanted = smoothed(shares, recipe.label_smoothing)
            return {"loss": cross_entropy(classifier(images), wanted, weights.to(images.device), gamma)}

        return loss

    def _recipe(self, classifier: nn.Module) -> Recipe:
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
        if isinstance(params, TransferParams) and isinstance(classifier, TransferClassifier):
            chosen = replace(chosen, groups=lambda _: classifier.groups(params.rate_decay))
        return chosen
