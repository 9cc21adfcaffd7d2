"""Greedy coreset selection (k-center)."""

import torch
from torch import Tensor

_PROJECTED = 32


def coreset(vectors: Tensor, number: int) -> Tensor:
    """Indices (number,) of a coreset of vectors (M, width), M >= number: each is the farthest from all before it.

    k-center greedy (Sener, Savarese 2018, arXiv 1708.00489, algorithm 1), starting with the vector farthest from the
    mean. Cost: M x number x width.
    """
    centered = vectors - vectors.mean(0)
    lengths = centered.square().sum(1)
    least = lengths.clone()
    chosen = torch.zeros(number, dtype=torch.int64)
    for i in range(number):
        farthest = least.argmax()
        chosen[i] = farthest
        apart = lengths + lengths[farthest] - 2 * (centered @ centered[farthest])
        least = apart if i == 0 else torch.minimum(least, apart)
        least[chosen[: i + 1]] = -1  # excludes chosen vectors, whose distance may not round to 0
    return chosen


def projected(vectors: Tensor) -> Tensor:
    """(M, width) -> (M, at most 32): random projection that nearly preserves distances.

    Johnson, Lindenstrauss 1984; PatchCore selects its coreset on such projections. Uses torch's global generator.
    """
    if vectors.shape[1] <= _PROJECTED:
        return vectors
    directions: Tensor = torch.randn(vectors.shape[1], _PROJECTED) / _PROJECTED**0.5
    return vectors @ directions
