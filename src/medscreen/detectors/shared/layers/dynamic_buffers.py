"""Tensors whose size only the data decides."""

from typing import Any

from torch import nn


class DynamicBuffers(nn.Module):
    """A module whose own buffers take the shape of the state that they are loaded from."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            if prefix + name in state_dict:
                setattr(self, name, buffer.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
