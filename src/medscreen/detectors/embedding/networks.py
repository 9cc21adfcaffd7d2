"""Embedding of an image: pooled feature maps of a backbone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medscreen.detectors.shared.layers.pooling import cell_means


class Embedding(nn.Module):
    """Concatenated feature maps at the given depths (from 1), each average-pooled to `grid` x `grid` cells.

    The backbone has `maps(images, depth)`, the feature maps of its first stages, and `widths`, their channels.
    `width`: dimension of the embedding.
    """

    def __init__(self, backbone: nn.Module, depths: Sequence[int], grid: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.depths, self.grid = sorted(depths), grid
        widths: list[int] = backbone.widths  # type: ignore[assignment]
        self.width = grid**2 * sum(widths[depth - 1] for depth in self.depths)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, width)."""
        return self.pooled(self.backbone.maps(images, self.depths[-1]))  # type: ignore[operator]

    def pooled(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps of the first stages -> (N, width)."""
        return torch.cat([cell_means(maps[d - 1], self.grid) for d in self.depths], 1)


class EmbeddingClassifier(nn.Module):
    """A head on an embedding: images (N, 1, S, S) -> logits (N, outputs).

    `chosen`: result of the search of the head's settings: for each setting the index in its list of values, then the
    cross-validated score.
    """

    chosen: Tensor

    def __init__(self, embedding: Embedding, head: nn.Sequential, settings: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.head: nn.Sequential = head
        self.register_buffer("chosen", torch.zeros(settings + 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> logits (N, outputs)."""
        logits: Tensor = self.head(self.embedding(images))
        return logits
