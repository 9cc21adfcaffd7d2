"""Detectors that learn from both classes."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.augmentation import augment_films
from medscreen.detectors.classes import class_weights, classes_of
from medscreen.detectors.fitting import Examples, Loss, Recipe, fit_network, seeded
from medscreen.detectors.networks.odds import OddsOfAnyFinding, OneLogit
from medscreen.detectors.networks.residual import ResidualClassifier
from medscreen.detectors.protocol import OnEpoch, as_images, ignore
from medscreen.images import ImageSet
from medscreen.params import CnnParams, ComputeParams


class CnnDetector:
    """A small residual network; its score is the logit of being abnormal, whichever finding it is."""

    score_at_half: float | None = 0.0

    def __init__(self, params: CnnParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.findings = ("normal", *params.findings) if params.findings else ()
        self.network: nn.Module = self._fresh()

    def _fresh(self) -> OneLogit | OddsOfAnyFinding:
        seeded(self.seed)
        outputs = len(self.findings) or 1
        classifier = ResidualClassifier(self.params.width, self.params.unshuffle, outputs)
        return (OddsOfAnyFinding(classifier) if self.findings else OneLogit(classifier)).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Minimises the cross-entropy, each class weighing the same.

        Raises MedscreenError if an abnormal image has a finding that is not in the settings, or none has one of them.
        """
        network = self._fresh()
        examples, tuned = self._examples(train), self._examples(tune)
        loss = self._loss(network.classifier, examples.labels)
        recipe = Recipe(self.params.training, self.compute, self.seed, augment_films)
        fit_network(network, loss, examples, tuned, recipe, on_epoch)
        self.network = network
        return self

    def _examples(self, images: ImageSet) -> Examples:
        """Labelled 0 and 1 or, where findings are told apart, by the position of the finding; 0 is normal."""
        if not self.findings:
            return Examples.of(images)
        classes = classes_of(images, self.findings, self.params.kind)
        return Examples(as_images(images.pixels), torch.from_numpy(classes))

    def _loss(self, classifier: nn.Module, labels: Tensor) -> Loss:
        if not self.findings:
            abnormal = labels.mean()

            def one_logit(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
                weights = torch.where(labels > 0.5, 0.5 / abnormal, 0.5 / (1 - abnormal))
                logits = classifier(images).squeeze(1)
                return {"loss": F.binary_cross_entropy_with_logits(logits, labels, weights)}

            return one_logit
        balance = class_weights(labels.numpy(), self.findings, self.params.kind)

        def one_logit_a_class(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(classifier(images), labels, balance.to(images.device))}

        return one_logit_a_class
