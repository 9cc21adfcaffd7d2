"""Negative evidence lower bound (ELBO) of a variational autoencoder."""

from torch import Tensor, nn

from medscreen.detectors.autoencoder.networks import VariationalAutoencoder
from medscreen.detectors.autoencoder.residual_scores import cross_entropy


def elbo_terms(autoencoder: VariationalAutoencoder, images: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 1, S, S) in 0..1 -> cross-entropy of all pixels and divergence of the code, nats, (N,) each.

    `seen`: the network's input, the images or noisy ones.
    """
    reconstruction, divergence = autoencoder.encode_decode(seen)
    return cross_entropy(images, reconstruction).sum((1, 2, 3)), divergence


class NegativeElbo(nn.Module):
    """The negative evidence lower bound of an image, in nats: cross-entropy of all pixels plus `beta` x divergence.

    Kingma, Welling 2014 (arXiv 1312.6114), equation 3; `beta`: Higgins et al. 2017 (beta-VAE).
    """

    def __init__(self, autoencoder: VariationalAutoencoder, beta: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.beta = beta

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) in 0..1 -> (N,)."""
        entropy, divergence = elbo_terms(self.autoencoder, images, images)
        return entropy + self.beta * divergence
