"""Embedding detector: a backbone's pooled features with a classifier head."""

from collections.abc import Callable
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.embedding import EmbeddingParams, OwnBackboneParams, PublicBackboneParams
from medscreen.data.images import ImageSet
from medscreen.detectors.embedding.head_search import fit_head, patient_folds
from medscreen.detectors.embedding.networks import Embedding, EmbeddingClassifier
from medscreen.detectors.embedding.score_heads import Known, head_of
from medscreen.detectors.shared.augmentation import augment_films
from medscreen.detectors.shared.base import OnEpoch, as_images, ignore, in_batches
from medscreen.detectors.shared.class_targets import classes_of, require_every_class, shares_of, weighing_the_same
from medscreen.detectors.shared.layers.abnormal_logit import AnyFindingLogit, OneLogit
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.residual_network import ResidualClassifier
from medscreen.detectors.shared.pretrained import bare_backbone, read_backbone
from medscreen.detectors.shared.training import Examples, Recipe, fit_network, seeded


class EmbeddingDetector:
    """Classic classifier on a backbone's pooled features; the score is the log odds of abnormal.

    Classes have equal prior probabilities, so at score 0 normal and abnormal are equally likely.
    """

    decision_boundary: float | None = 0.0

    def __init__(self, params: EmbeddingParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.findings = ("normal", *params.findings) if params.findings else ()
        self.head = head_of(params.head)
        self.network: nn.Module = self._fresh()

    def _fresh(self, public: Callable[[BackboneParams], Backbone] = bare_backbone) -> OneLogit | AnyFindingLogit:
        """Untrained classifier; `public` builds the backbone unless the detector trains it."""
        seeded(self.seed)
        embedding = Embedding(self._backbone(public), self.params.depths, self.params.grid)
        head = self.head.fresh(embedding.width, self._classes)
        classifier = EmbeddingClassifier(embedding, head, len(self.head.tried(embedding.width)))
        return (AnyFindingLogit(classifier) if self.findings else OneLogit(classifier)).eval()

    @property
    def _classes(self) -> int:
        return len(self.findings) or 2

    def _backbone(self, public: Callable[[BackboneParams], Backbone]) -> nn.Module:
        match self.params.backbone:
            case PublicBackboneParams() as settings:
                backbone = public(settings)
                backbone.keep(max(self.params.depths))
                return backbone
            case OwnBackboneParams() as own:
                return ResidualClassifier(own.width, own.unshuffle, "mean", self._classes)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Searches and fits the head on `train`. An own backbone is trained first, with early stopping on `tune`.

        Raises MedscreenError if findings differ from those of the settings, or patients are too few for the folds.
        """
        torch.set_num_threads(self.compute.threads)
        network = self._fresh(read_backbone)
        classifier: EmbeddingClassifier = network.classifier  # type: ignore[assignment]
        labels = classes_of(train, self.params.findings)
        require_every_class(shares_of(labels, self.params.findings), self.params.findings)
        classes = labels.numpy()
        folds = patient_folds(classes, train.patients, self.params.folds, self.seed)
        if isinstance(self.params.backbone, OwnBackboneParams):
            self._train(classifier.embedding.backbone, self.params.backbone, (train, tune), on_epoch)
        with torch.inference_mode():
            vectors = in_batches(classifier.embedding, train.pixels)
        data = Known(vectors.double().numpy(), classes, folds)
        chosen = fit_head(self.head, classifier.head, data, self.seed, self.compute.threads)
        classifier.chosen.copy_(torch.tensor(chosen))
        self.network = network
        return self

    def _train(
        self,
        backbone: nn.Module,
        own: OwnBackboneParams,
        images: tuple[ImageSet, ImageSet],
        on_epoch: OnEpoch,
    ) -> None:
        """Trains the backbone with class-weighted cross-entropy on `images`: train, tune."""
        findings = self.params.findings
        train, tune = (Examples(as_images(of.pixels), classes_of(of, findings)) for of in images)
        weights = weighing_the_same(shares_of(train.labels, findings))

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(backbone(images), labels, weights.to(images.device))}

        augment = partial(augment_films, pose=1.0, exposure=1.0, grain=0.0)
        recipe = Recipe(own.training, self.compute, self.seed, augment)
        fit_network(backbone, loss, train, tune, recipe, on_epoch)
