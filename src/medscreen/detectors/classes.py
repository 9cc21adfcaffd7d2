"""Which class an image is of: normal or abnormal or, where a detector tells them apart, which finding it has."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscreen.errors import MedscreenError
from medscreen.images import ImageSet


def classes_of(images: ImageSet, findings: Sequence[str], kind: str) -> NDArray[np.int64]:
    """(N,): the position of each image's finding in `findings`, 0 for normal; without findings, the labels.

    Raises MedscreenError, which speaks of detectors of this kind, if an abnormal image has another finding.
    """
    if not findings:
        return images.labels
    classes = np.zeros(len(images), np.int64)
    for i, finding in enumerate(images.traits["finding"]):
        if images.labels[i] == 0:
            continue
        if finding not in findings[1:]:
            raise MedscreenError(
                f"An abnormal image has the finding {finding!r}, and the {kind}'s findings: in params.yaml are "
                f"{', '.join(findings[1:])}; name all of the data set's, or none."
            )
        classes[i] = findings.index(finding)
    return classes


def class_weights(classes: NDArray[np.int64], findings: Sequence[str], kind: str) -> Tensor:
    """(K,): what an image of each class counts, so that all classes count the same; 1 on average over the images.

    Raises MedscreenError if a class has no image.
    """
    names = findings or ("normal", "abnormal")
    counts = np.bincount(classes, minlength=len(names))
    if (counts == 0).any():
        lacking = names[int(counts.argmin())]
        if not findings or lacking == "normal":
            raise MedscreenError(f"No image of train is {lacking}, and a detector of kind {kind} learns from both.")
        raise MedscreenError(
            f"No image of train has the finding {lacking!r}; take it out of the {kind}'s findings: in params.yaml."
        )
    return torch.from_numpy((len(classes) / (len(names) * counts)).astype(np.float32))
