"""Detectors that classify an image by its embedding."""

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.augmentation import augment_films
from medscreen.detectors.classes import classes_of, require_every_class, shares_of, weighing_the_same
from medscreen.detectors.fitting import Examples, Recipe, fit_network, seeded
from medscreen.detectors.heads import Known, head_of
from medscreen.detectors.networks.backbones import Backbone
from medscreen.detectors.networks.embeddings import Embedding, EmbeddingClassifier
from medscreen.detectors.networks.odds import OddsOfAnyFinding, OneLogit
from medscreen.detectors.networks.residual import ResidualClassifier
from medscreen.detectors.pretrained import read_weights
from medscreen.detectors.protocol import OnEpoch, as_images, ignore
from medscreen.detectors.search import fit_head, patient_folds
from medscreen.images import ImageSet, Pixels
from medscreen.params import ComputeParams, EmbeddingParams, OwnBackboneParams, PublicBackboneParams

_BATCH = 64  # images: at 224 pixels a ResNet's first maps of as many take 200 MB


class EmbeddingDetector:
    """A classic classifier on a network's pooled features; its score is the log odds of being abnormal.

    All classes count as equally frequent, so at score 0 both are equally likely.
    """

    score_at_half: float | None = 0.0

    def __init__(self, params: EmbeddingParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.findings = ("normal", *params.findings) if params.findings else ()
        self.head = head_of(params.head)
        self.network: nn.Module = self._fresh()

    def _fresh(self, weights: dict[str, Tensor] | None = None) -> OneLogit | OddsOfAnyFinding:
        """The classifier before it has learned, on the weights of others where it takes some."""
        seeded(self.seed)
        embedding = Embedding(self._backbone(weights), self.params.depths, self.params.grid)
        head = self.head.fresh(embedding.width, self._classes)
        classifier = EmbeddingClassifier(embedding, head, len(self.head.tried(embedding.width)))
        return (OddsOfAnyFinding(classifier) if self.findings else OneLogit(classifier)).eval()

    @property
    def _classes(self) -> int:
        return len(self.findings) or 2

    def _backbone(self, weights: dict[str, Tensor] | None) -> nn.Module:
        match self.params.backbone:
            case PublicBackboneParams() as public:
                backbone = Backbone(public.name, public.channels, public.side, weights)
                backbone.stages = backbone.stages[: max(self.params.depths)]  # the others would only be stored
                return backbone
            case OwnBackboneParams() as own:
                return ResidualClassifier(own.width, own.unshuffle, "mean", self._classes)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Searches and fits the head on `train`; a backbone of its own is trained before, until `tune` says stop.

        Raises MedscreenError if the findings are not those of the settings or the patients are too few for the folds.
        """
        torch.set_num_threads(self.compute.threads)
        weights = None
        if isinstance(self.params.backbone, PublicBackboneParams):
            weights = read_weights(self.params.backbone.name, self.params.backbone.weights)
        network = self._fresh(weights)
        classifier: EmbeddingClassifier = network.classifier  # type: ignore[assignment]
        labels = classes_of(train, self.params.findings)
        require_every_class(shares_of(labels, self.params.findings), self.params.findings)
        classes = labels.numpy()
        folds = patient_folds(classes, train.patients, self.params.folds, self.seed)
        if isinstance(self.params.backbone, OwnBackboneParams):
            self._train(classifier.embedding.backbone, self.params.backbone, (train, tune), on_epoch)
        known = Known(_embedded(classifier.embedding, train.pixels).double().numpy(), classes, folds)
        chosen = fit_head(self.head, classifier.head, known, self.seed, self.compute.threads)
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
        """Minimises the cross-entropy on the first set, each class weighing the same."""
        findings = self.params.findings
        train, tune = (Examples(as_images(of.pixels), classes_of(of, findings)) for of in images)
        weights = weighing_the_same(shares_of(train.labels, findings))

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(backbone(images), labels, weights.to(images.device))}

        augment = partial(augment_films, pose=1.0, exposure=1.0, grain=0.0)
        recipe = Recipe(own.training, self.compute, self.seed, augment)
        fit_network(backbone, loss, train, tune, recipe, on_epoch)


def _embedded(embedding: Embedding, pixels: Pixels) -> Tensor:
    """Images (N, S, S) -> (N, width), a batch at a time."""
    with torch.inference_mode():
        return torch.cat([embedding(as_images(pixels[i : i + _BATCH])) for i in range(0, len(pixels), _BATCH)])
