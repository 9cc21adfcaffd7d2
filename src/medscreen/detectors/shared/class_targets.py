"""Class targets as one-hot rows, and balancing of rare classes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medscreen.data.images import FINDING, ImageSet
from medscreen.detectors.shared.base import as_images
from medscreen.detectors.shared.training import Examples
from medscreen.errors import MedscreenError


def classes_of(images: ImageSet, findings: Sequence[str]) -> Tensor:
    """(N,) class indices: 0 for normal, else 1 + the index of the finding in `findings`; without findings, the labels.

    Raises MedscreenError if an abnormal image has another finding.
    """
    classes = torch.from_numpy(images.labels.copy())
    if findings:
        for i in classes.nonzero().flatten().tolist():
            finding = images.attributes[FINDING][i]
            if finding not in findings:
                raise MedscreenError(
                    f"params.yaml: findings of the detector lack {finding!r}, a finding in the data set; they are "
                    f"{', '.join(findings)}. Name all findings of the data set, or none."
                )
            classes[i] = 1 + findings.index(finding)
    return classes


def shares_of(classes: Tensor, findings: Sequence[str]) -> Tensor:
    """(N,) class indices -> one-hot (N, K); without findings the classes are normal and abnormal."""
    return F.one_hot(classes, 1 + max(1, len(findings))).float()


def classified(images: ImageSet, findings: Sequence[str]) -> Examples:
    """Images with one-hot classes; raises MedscreenError as `classes_of` does."""
    return Examples(as_images(images.pixels), shares_of(classes_of(images, findings), findings))


def require_every_class(shares: Tensor, findings: Sequence[str]) -> None:
    """Raises MedscreenError if a class (column of `shares`) has no image."""
    numbers = shares.sum(0)
    if (numbers == 0).any():
        missing = ("normal", *(findings or ("abnormal",)))[int(numbers.argmin())]
        raise MedscreenError(
            f"train: no image of the class {missing!r}. Correct findings of the detector in params.yaml, or the labels "
            "of the data set."
        )


def weighing_the_same(shares: Tensor) -> Tensor:
    """(N, K) -> (K,): balanced class weights, inverse to class frequency, with mean 1 over the images."""
    return shares.sum() / (shares.shape[1] * shares.sum(0))


def drawn_equally_often(shares: Tensor) -> Tensor:
    """(N, K) -> (N,) indices sampled with replacement, each class with equal probability."""
    return torch.multinomial(shares @ weighing_the_same(shares), len(shares), replacement=True)


def with_rarest_thrice(examples: Examples) -> Examples:
    """Triples the rarest class: appends its images flipped left to right, and flipped along both axes."""
    rare = examples.labels[:, examples.labels.sum(0).argmin()] > 0
    images, shares = examples.images[rare], examples.labels[rare]
    return Examples(
        torch.cat([examples.images, images.flip(3), images.flip(2, 3)]),
        torch.cat([examples.labels, shares, shares]),
    )
