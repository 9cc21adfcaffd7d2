"""Classification losses on soft labels (N, K)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def log_probabilities(logits: Tensor) -> Tensor:
    """(N, 1), the log odds of the second of two classes, or (N, K) -> (N, K or 2), their logarithms."""
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], 1)
    return F.log_softmax(logits, 1)


def cross_entropy(logits: Tensor, shares: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """The mean over images of - weight * share * (1 - p)^gamma * log p, added up over the classes.

    logits: (N, 1) or (N, K), shares: (N, K), weights: (K,). With a gamma above 0, the focal loss of Lin et al. 2017
    (arXiv 1708.02002).
    """
    logarithms = log_probabilities(logits)
    if gamma:
        # 1 - p, without loss of digits; where it is 0 its power would have no slope
        rest = -torch.expm1(logarithms)
        logarithms = logarithms * rest.clamp_min(1e-7) ** gamma
    return -(weights * shares * logarithms).sum(1).mean()


def smoothed(shares: Tensor, smoothing: float) -> Tensor:
    """Shares (N, K) of which this part is spread over all classes (Szegedy et al. 2016, arXiv 1512.00567)."""
    return shares * (1 - smoothing) + smoothing / shares.shape[1]


def mixed(images: Tensor, shares: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Each image and its shares mixed with those of another, by a part drawn from Beta(alpha, alpha).

    mixup, Zhang et al. 2018 (arXiv 1710.09412), with a part of its own for each pair.
    """
    parts = torch.distributions.Beta(alpha, alpha).sample((len(images), 1)).to(images.device)
    other = torch.randperm(len(images), device=images.device)
    part = parts.view(-1, 1, 1, 1)
    return part * images + (1 - part) * images[other], parts * shares + (1 - parts) * shares[other]
