"""Pooling of feature maps to one vector per image."""

import math

import torch
from torch import Tensor


def soft_maximum(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C): log-mean-exp over all positions, which keeps the response to small findings.

    Pinheiro, Collobert 2015 (arXiv 1411.6228), equation 4, with r = 1.
    """
    return torch.logsumexp(features, (2, 3)) - math.log(features.shape[2] * features.shape[3])


def mean_of_top(maps: Tensor, share: float) -> Tensor:
    """(N, ...) -> (N,): mean of the largest fraction `share` of all values, at least one value."""
    values = maps.flatten(1)
    number = max(1, round(share * values.shape[1]))
    # the mean of all values needs no topk, which is slower than the network
    return values.mean(1) if number == values.shape[1] else values.topk(number).values.mean(1)


def cell_means(features: Tensor, grid: int) -> Tensor:
    """(N, C, H, W) -> (N, C * grid**2): adaptive average pooling to `grid` x `grid` cells.

    Same result as torch's adaptive_avg_pool2d, which is exported to ONNX with one node per cell: positions on the
    border of two cells belong to both.
    """
    down, across = (cells(side, grid).to(features.device) for side in features.shape[2:])
    return (down @ features @ across.T).flatten(1)


def cells(side: int, grid: int) -> Tensor:
    """Matrix (grid, side): each row averages over one cell."""
    bounds = [(i * side // grid, -(-(i + 1) * side // grid)) for i in range(grid)]
    return torch.tensor([[(start <= place < stop) / (stop - start) for place in range(side)] for start, stop in bounds])
