"""The documentation names what exists: pages, commands with their options, settings, entries of the roster."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pydantic import ValidationError

from browsers import new_tab
from factories import PARAMS_YAML, REPOSITORY
from medscreen.cli import commands
from medscreen.config.operating import OperatingParams
from medscreen.config.params import Params

DOCS = REPOSITORY / "docs"
HISTORY = {"log.md", "decisions/README.md"}  # name what stood there at their time
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
NOTEBOOKS = [name for name in PAGES if name.startswith("notebooks/0")]
SETTINGS: dict[str, Any] = yaml.safe_load(PARAMS_YAML.read_text())
SCHEMA: dict[str, Any] = json.loads((DOCS / "params.schema.json").read_text())
ROSTER = yaml.safe_load((REPOSITORY / "benchmarks" / "roster.yaml").read_text())["detectors"]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
ON_PAGE = pytest.mark.parametrize("page", sorted(PAGES.keys() - HISTORY))
FILES = (".html", ".json", ".py", ".yaml")
OUTPUT = re.compile(r"(reports|data)/[\w./<>-]+")


def check_command(line: str) -> None:
    """Parses a line as click would; raises for an unknown command, option, choice or number of arguments."""
    name, *arguments = shlex.split(line.replace("...", ""), comments=True)[1:]
    commands.commands[name].make_context(name, arguments)


@ON_PAGE
def test_every_line_of_a_command_can_be_typed(page: str) -> None:
    for block in re.findall(r"^ *```.*?\n(.*?)^ *```", PAGES[page], re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^ *(medscreen [a-z]+(?: .*)?)$", block, re.MULTILINE):
            check_command(line)


@ON_PAGE
def test_every_command_within_a_sentence_exists_with_its_options(page: str) -> None:
    for name, rest in re.findall(r"`medscreen ([a-z]+)( [^`]*)?`", PAGES[page]):
        known = {option for parameter in commands.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, name


@pytest.mark.parametrize(
    "line", ["medscreen predict", "medscreen predict A --stge x", "medscreen promote 2 --to Prod", "medscreen models 3"]
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        check_command(line)


@ON_PAGE
def test_every_make_target_exists(page: str) -> None:
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", PAGES[page], re.MULTILINE):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]]
    parts = node.get("oneOf", []) + node.get("anyOf", [])
    if parts:
        for part in parts:
            yield from alternatives(part)
    else:
        yield node


def below(node: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    for found in alternatives(node):
        if key in found.get("properties", {}):
            yield found["properties"][key]
        for pattern, entry in found.get("patternProperties", {}).items():
            if re.search(pattern, key):
                yield entry
        if isinstance(found.get("additionalProperties"), dict):
            yield found["additionalProperties"]


def is_setting(path: str) -> bool:
    nodes = [SCHEMA]
    for key in path.split("."):
        nodes = [child for node in nodes for child in below(node, key)]
    return bool(nodes)


def takes(node: dict[str, Any], value: object) -> bool:
    """Whether a scalar or list is of the type, or among the values, that a key has."""
    types = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list, "null": type(None)}
    return any(
        value in found.get("enum", [found.get("const")])
        if "enum" in found or "const" in found
        else isinstance(value, types.get(found["type"], ()))
        for found in alternatives(node)
    )


def everywhere(path: str) -> list[dict[str, Any]]:
    """The schemas of a key by its whole path or by the end of it (as in `score: mse`)."""
    nodes = [SCHEMA, *(block for block in SCHEMA["$defs"].values() if "properties" in block)]
    for key in path.split("."):
        nodes = [child for node in nodes for child in below(node, key)]
    return nodes


def is_policy(value: str) -> bool:
    try:
        OperatingParams.model_validate(SETTINGS["operating"] | {"threshold": yaml.safe_load(value)})
    except ValidationError:
        return False
    return True


@ON_PAGE
def test_every_dotted_setting_exists(page: str) -> None:
    top = "|".join(SCHEMA["properties"])
    for path in re.findall(rf"`((?:{top})(?:\.[\w-]+)+)[`:]", PAGES[page]):
        assert is_setting(path) or path.endswith(FILES), path


@ON_PAGE
def test_every_settings_block_is_valid(page: str) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL):
        shown = yaml.safe_load(block)
        if "studies" not in shown:  # docs/studies.md shows forms that do not stand together
            merged = {key: SETTINGS[key] | value for key, value in shown.items()}
            Params.model_validate(SETTINGS | merged)


def named_on(page: str) -> Iterator[str]:
    """Code in the third column of the table: what does the cell's work now."""
    rows = [line.split(" | ") for line in PAGES[page].splitlines() if line.startswith("| ")]
    for row in rows[1:]:
        yield from re.findall(r"`([^`]+)`", row[2])


def exists(code: str) -> bool:
    if code.startswith("medscreen "):
        check_command(code)
        return True
    if code.startswith(("make ", "dvc repro ")):
        return bool(re.search(rf"^{code.split()[1]}:", MAKEFILE, re.MULTILINE)) or code == "dvc repro curate"
    if code in ROSTER or is_setting(code) or OUTPUT.fullmatch(code):
        return True
    path, _, value = code.partition(": ")
    if path == "operating.threshold":
        return is_policy(value)
    nodes = everywhere(path)
    return any(takes(node, yaml.safe_load(value)) for node in nodes) if value else bool(nodes) or code in WORDS


# names within an output, splits, and values beside the key that takes them
WORDS = {"scores", "false_positive_rate", "false_negative_rate", "val", "tune", "tpe", "random", "discard"}


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_every_command_and_setting_of_a_notebook_page_exists(page: str) -> None:
    named = list(named_on(page))
    assert len(named) > 8
    assert [code for code in named if not exists(code)] == []


@pytest.mark.parametrize("code", ["notebook-none", "scor: mse", "score: msee", "operating.treshold", "make reproo"])
def test_a_wrong_name_on_a_notebook_page_is_found(code: str) -> None:
    assert not exists(code)


def navigation(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        for part in node.values() if isinstance(node, dict) else node:
            yield from navigation(part)


def test_the_navigation_has_every_page_and_no_other() -> None:
    nav = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    assert sorted(navigation(nav)) == sorted(PAGES)


def test_the_generated_reference_has_every_key() -> None:
    spec = spec_from_file_location("settings_reference", DOCS / "settings_reference.py")
    assert spec and spec.loader
    spec.loader.exec_module(hook := module_from_spec(spec))
    hook.PARAMS = PARAMS_YAML  # not the user's
    rows = re.findall(r"^\| `([\w.]+)`", hook.on_page_markdown(PAGES["reference/settings.md"]), re.MULTILINE)
    shown = {key for path in rows for key in path.split(".")}
    keys = {
        key for block in SCHEMA["$defs"].values() for key, node in block["properties"].items() if "const" not in node
    }
    assert keys - shown == {"low", "high", "step", "log", "choices", "entry", "space", "center"}  # prose of the page


@pytest.mark.slow
def test_the_site_is_built_read_and_searched_without_a_network(tmp_path: Path, browser: str) -> None:
    config = REPOSITORY / "mkdocs.yml"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(config), "-d", str(tmp_path)]
    built = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | NO_NOTICE)
    assert (built.returncode, built.stderr) == (0, "")
    asked: list[str] = []
    with new_tab(browser) as tab:
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((tmp_path / "index.html").as_uri())
        tab.get_by_role("textbox", name="Search").press_sequentially("deferral band", delay=50)
        tab.locator(".md-search-result__link").first.click()
        tab.wait_for_url("**/*.html?h=*")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


NO_NOTICE = {"NO_MKDOCS_2_WARNING": "1"}
