"""Edits of params.yaml by a command; comments and order are preserved."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medscreen.config.params import Params, load_params
from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import replaced

Accept = Callable[[Params, Params], None]
"""Function of the settings before and after a change; raises MedscreenError to reject the change."""


@contextmanager
def edited(path: Path, accept: Accept | None = None) -> Iterator[Any]:
    """Yields the content of params.yaml, to be changed in place; writes it back only if valid and accepted.

    Raises MedscreenError if the file is invalid before or after the change.
    """
    from ruamel.yaml import YAML  # keeps the file's comments

    before = load_params(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)  # as the file is written
    yaml.representer.add_representer(type(None), _null)
    yaml.representer.add_representer(float, _float)
    content = yaml.load(path)
    yield content
    with replaced(path) as partial:
        with partial.open("wb") as file:
            yaml.dump(content, file)
            os.fsync(file.fileno())  # without it, a power cut after the rename could leave an empty file
        try:
            after = load_params(partial)
            if accept:
                accept(before, after)
        except MedscreenError as error:
            raise MedscreenError(str(error).replace(partial.name, path.name)) from error


def _null(representer: Any, _: None) -> Any:
    """Writes `null`; the default of ruamel is an empty value."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _float(representer: Any, value: float) -> Any:
    """Writes a decimal point: YAML 1.1 parsers read 1e-05 as a string."""
    mantissa, e, exponent = repr(value).partition("e")
    text = f"{mantissa}.0e{exponent}" if e and "." not in mantissa else repr(value)
    return representer.represent_scalar("tag:yaml.org,2002:float", text)
