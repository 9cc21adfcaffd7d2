"""Structural similarity (SSIM) of two images."""

from torch import Tensor
from torch.nn import functional as F

WINDOW = 7


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of images (N, 1, S, S) in 0..1 at each position of a 7 x 7 window, (N, 1, S-6, S-6): 1 where they agree.

    Wang et al. 2004 (doi 10.1109/TIP.2003.819861), uniform windows, K1 = .01, K2 = .03, sample covariance.
    """
    window = WINDOW
    unbiased = window**2 / (window**2 - 1)
    # moments about mid-gray: about 0, a difference of squares would lose most digits
    centered_a, centered_b = a - 0.5, b - 0.5
    mean_a, mean_b = F.avg_pool2d(centered_a, window, 1), F.avg_pool2d(centered_b, window, 1)
    var_a = unbiased * (F.avg_pool2d(centered_a.square(), window, 1) - mean_a.square())
    var_b = unbiased * (F.avg_pool2d(centered_b.square(), window, 1) - mean_b.square())
    covariance = unbiased * (F.avg_pool2d(centered_a * centered_b, window, 1) - mean_a * mean_b)
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    result: Tensor = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return result
