"""Settings of threads and device."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block


class ComputeParams(Block):
    """Threads and device of training; the last bits of a result depend on them."""

    threads: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]
