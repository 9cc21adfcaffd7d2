"""Labels as shares of classes, and what is done where one class is rare."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medscreen.data.images import FINDING, ImageSet
from medscreen.detectors.shared.base import as_images
from medscreen.detectors.shared.training import Examples
from medscreen.errors import MedscreenError


def classes_of(images: ImageSet, findings: Sequence[str]) -> Tensor:
    """(N,): 0 for normal, else the position of the image's finding in `findings`, from 1; without findings, the labels.

    Raises MedscreenError if an abnormal image has a finding that is not among them.
    """
    classes = torch.from_numpy(images.labels.copy())
    if findings:
        for i in classes.nonzero().flatten().tolist():
            finding = images.attributes[FINDING][i]
            if finding not in findings:
                raise MedscreenError(
                    f"An abnormal image has the finding {finding!r}, and the detector's findings: in params.yaml "
                    f"are {', '.join(findings)}; name all of the data set's, or none."
                )
            classes[i] = 1 + findings.index(finding)
    return classes


def shares_of(classes: Tensor, findings: Sequence[str]) -> Tensor:
    """(N,) -> (N, K): a share of 1 in each image's class; without findings the classes are normal and abnormal."""
    return F.one_hot(classes, 1 + max(1, len(findings))).float()


def classified(images: ImageSet, findings: Sequence[str]) -> Examples:
    """The images with the shares of their classes; raises MedscreenError as `classes_of` does."""
    return Examples(as_images(images.pixels), shares_of(classes_of(images, findings), findings))


def require_every_class(shares: Tensor, findings: Sequence[str]) -> None:
    """Raises MedscreenError if a class has no image."""
    numbers = shares.sum(0)
    if (numbers == 0).any():
        missing = ("normal", *(findings or ("abnormal",)))[int(numbers.argmin())]
        raise MedscreenError(
            f"No image of train is of the class {missing!r}, and a classifier needs all of its classes; correct "
            "the detector's findings: in params.yaml or the labels of the data set."
        )


def weighing_the_same(shares: Tensor) -> Tensor:
    """(N, K) -> (K,): weights of the classes, with mean 1 over the images, that make each count as much in a sum."""
    return shares.sum() / (shares.shape[1] * shares.sum(0))


def drawn_equally_often(shares: Tensor) -> Tensor:
    """(N, K) -> N positions, drawn with replacement, such that each class is as likely."""
    return torch.multinomial(shares @ weighing_the_same(shares), len(shares), replacement=True)


def with_rarest_thrice(examples: Examples) -> Examples:
    """The images, and behind them those of the rarest class mirrored left to right, then turned by 180 degrees."""
    rare = examples.labels[:, examples.labels.sum(0).argmin()] > 0
    images, shares = examples.images[rare], examples.labels[rare]
    return Examples(
        torch.cat([examples.images, images.flip(3), images.flip(2, 3)]),
        torch.cat([examples.labels, shares, shares]),
    )
