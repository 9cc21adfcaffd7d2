"""What a result's last bits depend on besides the seed."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block


class ComputeParams(Block):
    """What a result's last bits depend on besides the seed."""

    threads: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]
