"""Test-time augmentation (TTA): the mean of a classifier's logits over transformed copies of the image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHIFTS = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0))


class TtaClassifier(nn.Module):
    """A classifier with test-time augmentation within the graph: the mean of its logits over views of the image.

    `number`: 1 is the image alone, 2 with its mirror image, 5 with four shifts by a 28th of the side, 10 both.
    """

    def __init__(self, classifier: nn.Module, number: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.number = number
        self.shifts = _SHIFTS if number >= 5 else _SHIFTS[:1]

    def offsets(self, side: int) -> list[tuple[int, int, bool]]:
        """Of each view: how many pixels of the image its top left corner lies further down and right; mirrored or not.

        A view is moved first, then mirrored.
        """
        step = max(1, round(side / 28))
        moved = [(step * down, step * right) for down, right in self.shifts]
        mirrored = (False, True) if self.number % 2 == 0 else (False,)
        return [(down, right, is_mirrored) for is_mirrored in mirrored for down, right in moved]

    def views(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (number * N, 1, S, S): all images in one view, then all in the next."""
        side = images.shape[-1]
        step = max(1, round(side / 28))
        padded = F.pad(images, (step, step, step, step), mode="replicate")
        rows = [(step * (1 + down), step * (1 + right)) for down, right in self.shifts]
        seen = [padded[:, :, down : down + side, right : right + side] for down, right in rows]
        if self.number % 2 == 0:
            seen += [view.flip(3) for view in seen]
        return torch.cat(seen)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> logits (N, K)."""
        if self.number == 1:
            logits: Tensor = self.classifier(images)
            return logits
        logits = self.classifier(self.views(images))
        return logits.view(self.number, -1, logits.shape[1]).mean(0)
