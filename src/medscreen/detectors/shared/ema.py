"""The average of a network's weights over its training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class ExponentialMovingAverage:
    """An exponential moving average of all that a network learns, the statistics of batch norms included.

    With a decay of 0 the average is the network itself and costs nothing.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        tensors = network.state_dict().values() if decay else ()  # these share their memory with the network
        self._network = [tensor for tensor in tensors if tensor.is_floating_point()]
        self._average = [tensor.clone() for tensor in self._network]

    def update(self) -> None:
        """Takes in the network as it is now, by 1 - min(decay, (1 + n) / (10 + n)) at the n-th time.

        So a young average forgets the random start sooner (num_updates of TensorFlow's ExponentialMovingAverage).
        """
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, tensor in zip(self._average, self._network, strict=True):
            average.lerp_(tensor, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network is the average, afterwards itself again."""
        self._swap()
        yield
        self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for average, tensor in zip(self._average, self._network, strict=True):
                now = tensor.clone()
                tensor.copy_(average)
                average.copy_(now)
