"""Tests read nothing of the checkout that its user changes: settings, locks, data, models, reports, history."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import REPOSITORY

READ = (
    "src",
    "tests",
    "docs",
    "benchmarks",
    "dvc.yaml",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    "pyproject.toml",
    "Dockerfile",
    "mkdocs.yml",
    "Makefile",
)


def forbidden_reads(source: str) -> Iterator[str]:
    """Uses of REPOSITORY that don't lead to something of READ, and other ways to find the checkout."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "__file__":
            yield f"{node.lineno}: __file__"
        elif isinstance(node, ast.alias) and node.name == "REPOSITORY" and node.asname:
            yield f"{node.lineno}: REPOSITORY under another name"
        elif isinstance(node, ast.Name) and node.id == "REPOSITORY":
            below, place = [], node
            while isinstance(above := parents[place], ast.BinOp) and above.left is place:
                below += [above.right.value] if isinstance(above.right, ast.Constant) else ["?"]
                place = above
            path = "/".join(map(str, below))
            if ".." in below or not any(f"{path}/".startswith(f"{start}/") for start in READ):
                yield f"{node.lineno}: {path or 'the whole checkout'}"


@pytest.mark.parametrize(
    "path",
    sorted((REPOSITORY / "tests").rglob("*.py")),
    ids=lambda path: path.relative_to(REPOSITORY / "tests").as_posix(),
)
def test_a_test_reads_nothing_that_the_user_of_the_checkout_changes(path: Path) -> None:
    if path.name == "factories.py":  # it defines REPOSITORY
        return
    assert list(forbidden_reads(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        'REPOSITORY / "params.yaml"', '(REPOSITORY / "reports" / "leaderboard.csv").read_text()',
        'REPOSITORY / "dvc.lock"',
        "shutil.copy(REPOSITORY / name, home)", 'REPOSITORY.joinpath("models")', "run(REPOSITORY)",
        'REPOSITORY / "src" / ".." / "params.yaml"', 'REPOSITORY / ".dvc" / "config"', "Path(__file__).parent",
        "from factories import REPOSITORY as ROOT",
    ],
)  # fmt: skip
def test_what_is_forbidden_is_found(source: str) -> None:
    assert len(list(forbidden_reads(source))) == 1


@pytest.mark.parametrize(
    "source", ['REPOSITORY / "src"', 'REPOSITORY / "docs" / name', 'REPOSITORY / ".dvc" / "plots"']
)
def test_what_git_brings_may_be_read(source: str) -> None:
    assert list(forbidden_reads(source)) == []
