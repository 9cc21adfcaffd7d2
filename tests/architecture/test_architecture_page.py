"""docs/architecture.md names what exists: its paths, its folders and the layers of the import contracts."""

import re
import tomllib
from pkgutil import resolve_name

from factories import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
PACKAGE = REPOSITORY / "src" / "medscreen"


def test_every_path_that_the_page_names_exists() -> None:
    paths = set(re.findall(r"`((?:\w+/)*(?:\w+\.py|\w+/))`", PAGE))
    assert len(paths) > 50
    assert [path for path in sorted(paths) if not (PACKAGE / path).exists()] == []


def test_every_module_that_the_page_names_exists() -> None:
    for name in re.findall(r"`(medscreen(?:\.\w+)*)`", PAGE):
        resolve_name(name)


def test_every_folder_has_its_paragraph() -> None:
    described = set(re.findall(r"^\*\*`(\w+)(?:/|\.py)`\*\*", PAGE, re.MULTILINE))
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert described == folders | {"errors"}


def test_the_picture_has_the_layers_of_the_import_contract() -> None:
    picture = PAGE.split("```")[1]
    firsts = [line.strip().split("   ")[0] for line in picture.splitlines() if re.search(r"\w", line)]
    drawn = [re.findall(r"\w+", first) for first in firsts]
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if "medscreen.cli" in contract.get("layers", []))
    assert drawn == [re.findall(r"medscreen\.(\w+)", layer) for layer in layers]
