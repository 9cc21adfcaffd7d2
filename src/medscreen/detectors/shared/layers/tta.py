"""Test-time augmentation (TTA): the mean of a classifier's logits over transformed copies of the image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHIFTS = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0))


class TtaClassifier(nn.Module):
    """Classifier with test-time augmentation inside the graph: mean logits over views of the image.

    `number` of views: 1 is the image alone, 2 adds its mirror image, 5 four shifts by 1/28 of the side, 10 both.
    """

    def __init__(self, classifier: nn.Module, number: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.number = number
        self.shifts = _SHIFTS if number >= 5 else _SHIFTS[:1]

    def offsets(self, side: int) -> list[tuple[int, int, bool]]:
        """Shift of each view's top left corner down and right, in pixels of the image, and whether it is mirrored.

        A view is shifted first, then mirrored.
        """
        step = max(1, round(side / 28))
        moved = [(step * down, step * right) for down, right in self.shifts]
        mirrored = (False, True) if self.number % 2 == 0 else (False,)
        return [(down, right, is_mirrored) for is_mirrored in mirrored for down, right in moved]

    def views(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (number * N, 1, S, S): the first view of all images, then the next."""
        side = images.shape[-1]
        step = max(1, round(side / 28))
        padded = F.pad(images, (step, step, step, step), mode="replicate")
        rows = [(step * (1 + down), step * (1 + right)) for down, right in self.shifts]
        shifted = [padded[:, :, down : down + side, right : right + side] for down, right in rows]
        if self.number % 2 == 0:
            shifted += [view.flip(3) for view in shifted]
        return torch.cat(shifted)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> logits (N, K)."""
        if self.number == 1:
            logits: Tensor = self.classifier(images)
            return logits
        logits = self.classifier(self.views(images))
        return logits.view(self.number, -1, logits.shape[1]).mean(0)
