"""Exponential moving average (EMA) of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class ExponentialMovingAverage:
    """Exponential moving average of a network's floating-point state, batch-norm statistics included.

    With decay 0 it is disabled: the average is the network itself.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        tensors = network.state_dict().values() if decay else ()  # views of the network's tensors
        self._network = [tensor for tensor in tensors if tensor.is_floating_point()]
        self._average = [tensor.clone() for tensor in self._network]

    def update(self) -> None:
        """Updates the average with the current weights; the decay is min(decay, (1 + n) / (10 + n)) in the n-th update.

        The ramp removes the random initialization sooner (num_updates of TensorFlow's ExponentialMovingAverage).
        """
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, tensor in zip(self._average, self._network, strict=True):
            average.lerp_(tensor, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context in which the network has the averaged weights; they are swapped back at exit."""
        self._swap()
        yield
        self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for average, tensor in zip(self._average, self._network, strict=True):
                now = tensor.clone()
                tensor.copy_(average)
                average.copy_(now)
