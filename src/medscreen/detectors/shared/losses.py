"""Classification losses on soft labels (N, K)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def log_probabilities(logits: Tensor) -> Tensor:
    """Logits (N, K), or log odds (N, 1) of the second of two classes -> log probabilities (N, K or 2)."""
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], 1)
    return F.log_softmax(logits, 1)


def cross_entropy(logits: Tensor, shares: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Weighted cross-entropy on soft labels: mean over images of the sum of - weight * share * (1 - p)^gamma * log p.

    logits: (N, 1) or (N, K), shares (soft labels): (N, K), weights: (K,). With gamma > 0 it is the focal loss (Lin et
    al. 2017, arXiv 1708.02002).
    """
    logarithms = log_probabilities(logits)
    if gamma:
        # 1 - p by expm1, which keeps its digits; clamped, because the gradient of a power is undefined at 0
        rest = -torch.expm1(logarithms)
        logarithms = logarithms * rest.clamp_min(1e-7) ** gamma
    return -(weights * shares * logarithms).sum(1).mean()


def smoothed(shares: Tensor, smoothing: float) -> Tensor:
    """Label smoothing of soft labels (N, K) (Szegedy et al. 2016, arXiv 1512.00567)."""
    return shares * (1 - smoothing) + smoothing / shares.shape[1]


def mixed(images: Tensor, shares: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """mixup: convex combination of each image and its soft labels with another, with a factor from Beta(alpha, alpha).

    Zhang et al. 2018 (arXiv 1710.09412); here every pair has a separate factor.
    """
    parts = torch.distributions.Beta(alpha, alpha).sample((len(images), 1)).to(images.device)
    other = torch.randperm(len(images), device=images.device)
    part = parts.view(-1, 1, 1, 1)
    return part * images + (1 - part) * images[other], parts * shares + (1 - parts) * shares[other]
