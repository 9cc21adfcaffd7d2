"""Negative evidence lower bound (ELBO) of a variational autoencoder."""

from torch import Tensor, nn

from medscreen.detectors.autoencoder.networks import VariationalAutoencoder
from medscreen.detectors.autoencoder.residual_scores import cross_entropy


def elbo_terms(autoencoder: VariationalAutoencoder, images: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The two terms of the negative ELBO: cross-entropy summed over pixels, and KL divergence of the code; nats, (N,).

    `images` (N, 1, S, S) in 0..1 are the target; `inputs` are the network's input, images or noisy images.
    """
    reconstruction, divergence = autoencoder.encode_decode(inputs)
    return cross_entropy(images, reconstruction).sum((1, 2, 3)), divergence


class NegativeElbo(nn.Module):
    """Negative evidence lower bound of an image, in nats: cross-entropy over all pixels plus `beta` x KL divergence.

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
