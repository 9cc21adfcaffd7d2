"""params.yaml changed by a command: the comments and the order that people gave it stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medscreen.outputs import replaced
from medscreen.params import load_params


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """The content of params.yaml, to be changed in place; written back whole, and only if it is still valid.

    Raises MedscreenError for a file that is not, before or after the change.
    """
    from ruamel.yaml import YAML  # keeps the file's comments

    load_params(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)  # as the file is written
    # else a null that somebody wrote is left out
    yaml.representer.add_representer(type(None), lambda it, _: it.represent_scalar("tag:yaml.org,2002:null", "null"))
    content = yaml.load(path)
    yield content
    with replaced(path) as partial:
        yaml.dump(content, partial)
        load_params(partial)
