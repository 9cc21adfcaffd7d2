"""Buffers whose size depends on the training data."""

from typing import Any

from torch import nn


class DynamicBuffers(nn.Module):
    """Module whose buffers are resized to the shapes in the state dict when it is loaded."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            if prefix + name in state_dict:
                setattr(self, name, buffer.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
