"""From a map of features to one vector an image."""

import math

import torch
from torch import Tensor


def soft_maximum(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C): log of the mean of exp over all places, so that a small finding counts.

    Pinheiro, Collobert 2015 (arXiv 1411.6228), equation 4, with r = 1.
    """
    return torch.logsumexp(features, (2, 3)) - math.log(features.shape[2] * features.shape[3])


def mean_of_top(maps: Tensor, share: float) -> Tensor:
    """(N, ...) -> (N,): the mean over that share of all values that is largest, of one value at least."""
    values = maps.flatten(1)
    number = max(1, round(share * values.shape[1]))
    # of all values no order is needed, and sorting them costs more than the network
    return values.mean(1) if number == values.shape[1] else values.topk(number).values.mean(1)


def cell_means(features: Tensor, grid: int) -> Tensor:
    """(N, C, H, W) -> (N, C * grid**2): the mean over each cell of a `grid` x `grid`.

    A place that the border of two cells would cut belongs to both, as in torch's adaptive average pooling, whose ONNX
    graph has a node for every piece.
    """
    down, across = (cells(side, grid).to(features.device) for side in features.shape[2:])
    return (down @ features @ across.T).flatten(1)


def cells(side: int, grid: int) -> Tensor:
    """(grid, side): rows that average over one cell each."""
    bounds = [(i * side // grid, -(-(i + 1) * side // grid)) for i in range(grid)]
    return torch.tensor([[(start <= place < stop) / (stop - start) for place in range(side)] for start, stop in bounds])
