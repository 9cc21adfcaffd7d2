"""Retired names: what HOUSE's glossary replaced by the field's terms stays out of identifiers and settings."""

import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from factories import REPOSITORY

RETIRED = frozenset(
    {
        "bench", "coders", "crew", "doubling", "exact_copies", "halving", "hush", "league", "near_copies",
        "neighbourhood", "neighbours", "optimiser", "paint", "people", "read_besides", "redraw", "redrawn",
        "refer", "said", "score_at_half", "standardise", "surprise", "traits", "votes",
    }
)  # fmt: skip
# the table of former names, and its test, state them
EXEMPT = frozenset({"former_names.py", "test_former_names.py", "test_retired_names.py"})


def names_in(path: Path) -> Iterator[str]:
    """The identifiers of a source file."""
    with tokenize.open(path) as file:
        yield from (token.string for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.NAME)


def keys_of(content: object) -> Iterator[str]:
    """All keys of a YAML file."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from keys_of(value)
    elif isinstance(content, list):
        for item in content:
            yield from keys_of(item)


@pytest.mark.parametrize(
    "folder", [REPOSITORY / "src", REPOSITORY / "tests", REPOSITORY / "benchmarks", REPOSITORY / "docs"]
)
def test_no_identifier_is_a_retired_name(folder: Path) -> None:
    files = [path for path in folder.rglob("*.py") if path.name not in EXEMPT]
    assert files
    found = {(path.name, name) for path in files for name in names_in(path) if name.lower().strip("_") in RETIRED}
    assert not found


def test_no_setting_is_a_retired_name() -> None:
    keys = set(keys_of(yaml.safe_load((REPOSITORY / "tests" / "params.yaml").read_text())))
    assert "ema_decay" in keys
    assert not keys & RETIRED
