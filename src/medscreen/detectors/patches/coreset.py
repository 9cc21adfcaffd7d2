"""A few vectors that cover many."""

import torch
from torch import Tensor

_PROJECTED = 32


def coreset(vectors: Tensor, number: int) -> Tensor:
    """Indices (number,) of vectors (M, width), M >= number: each is the one farthest from all before it.

    The greedy choice of k centres (Sener, Savarese 2018, arXiv 1708.00489, algorithm 1), from the vector farthest from
    the mean on. Costs M x number x width.
    """
    centred = vectors - vectors.mean(0)
    lengths = centred.square().sum(1)
    least = lengths.clone()
    chosen = torch.zeros(number, dtype=torch.int64)
    for i in range(number):
        farthest = least.argmax()
        chosen[i] = farthest
        apart = lengths + lengths[farthest] - 2 * (centred @ centred[farthest])
        least = apart if i == 0 else torch.minimum(least, apart)
        least[chosen[: i + 1]] = -1  # what was chosen is not chosen again, however the differences round
    return chosen


def projected(vectors: Tensor) -> Tensor:
    """(M, width) -> (M, at most 32): a random projection, which keeps distances nearly as they are.

    Of torch's global generator. Johnson, Lindenstrauss 1984; PatchCore chooses its coreset so.
    """
    if vectors.shape[1] <= _PROJECTED:
        return vectors
    directions: Tensor = torch.randn(vectors.shape[1], _PROJECTED) / _PROJECTED**0.5
    return vectors @ directions
