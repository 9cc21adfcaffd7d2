"""MkDocs hook: tables of params.yaml from its JSON schema, with the values and comments of the shipped files.

The marker `<!-- settings: BLOCK -->` in a page is replaced by the tables of that top-level block, `<!-- settings: -->`
by the keys without a block, and `<!-- settings: shared -->` by the blocks that several entries share.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CHECKOUT = Path(__file__).parents[1]
PARAMS, ROSTER = CHECKOUT / "params.yaml", CHECKOUT / "benchmarks" / "roster.yaml"
SCHEMA: dict[str, Any] = json.loads((CHECKOUT / "docs" / "params.schema.json").read_text())
BLOCKS: dict[str, Any] = SCHEMA["$defs"]
SHARED = {  # blocks that several kinds share: title, key in an entry
    "LayersParams": ("Autoencoder layers", "layers"),
    "RecipeParams": ("Classifier recipe", "recipe"),
    "BackboneParams": ("Pretrained backbone", "backbone"),
    "TrainingParams": ("Training", "training"),
}
Row = tuple[str, str, str, str]
LONGEST = 60  # characters of a shipped value; longer ones are blocks, which are easier to read in the file


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the markers of a page; MkDocs calls it for every page."""
    return re.sub(r"<!-- settings: ?(\w*) -->", lambda marker: _section(marker[1]), markdown)


@cache
def _shipped(path: Path) -> Any:
    return YAML().load(path)


def _section(block: str) -> str:
    if block == "shared":
        return "\n".join(_part(_title(name), BLOCKS[name], _example_of(name)) for name in sorted(SHARED))
    if not block:
        scalars = {
            key: node
            for key, node in SCHEMA["properties"].items()
            if node.get("type") != "object" and "$ref" not in node
        }
        return _table(_rows({"properties": scalars}, "", _shipped(PARAMS)))
    node = SCHEMA["properties"][block]
    if "$ref" in node:
        return _description(_resolved(node)) + _table(_rows(_resolved(node), "", _shipped(PARAMS)[block]))
    entry = next(iter(node["patternProperties"].values()))
    return "\n".join(_part(*found) for found in _entries(block, entry))


def _entries(block: str, entry: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Title, schema and first shipped entry of each kind that an entry of the block can have."""
    roster = [_shipped(PARAMS)[block], _shipped(ROSTER)["detectors"]]
    for schema in _alternatives(entry):
        marks = {key: node["const"] for key, node in schema["properties"].items() if "const" in node}
        shipped = next((e for es in roster for e in es.values() if all(e.get(k) == v for k, v in marks.items())), {})
        yield ", ".join(f"{key}: {value}" for key, value in marks.items()) or "An entry", schema, shipped


def _alternatives(node: dict[str, Any]) -> list[dict[str, Any]]:
    node = _resolved(node)
    return [leaf for part in node["oneOf"] for leaf in _alternatives(part)] if "oneOf" in node else [node]


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    return BLOCKS[node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def _part(title: str, schema: dict[str, Any], shipped: Any) -> str:
    return f"### {title}\n\n{_description(schema)}{_table(_rows(schema, '', shipped))}"


def _table(rows: Iterable[Row]) -> str:
    """A Markdown table; without its last column where no key has a comment."""
    lines = [("key", "values", "shipped", "meaning"), ("---",) * 4, *rows]
    columns = 4 if any(line[3] for line in lines[2:]) else 3
    return "".join(f"| {' | '.join(line[:columns])} |\n" for line in lines)


def _description(schema: dict[str, Any]) -> str:
    return f"{schema['description']}\n\n" if "description" in schema else ""


def _rows(schema: dict[str, Any], prefix: str, shipped: Any, when: str = "") -> Iterator[Row]:
    """The keys of a block; `when`: the condition under which a block has them."""
    for key, node in schema["properties"].items():
        path, value = prefix + key, (shipped or {}).get(key)
        name = node.get("$ref", "").rsplit("/", 1)[-1]
        if name in SHARED:
            link = f"[{_title(name)}](#{_title(name).lower().replace(' ', '-')})"
            yield f"`{path}`", link + when, "", _comment(shipped, key)
        elif "$ref" in node and "properties" in _resolved(node):
            yield from _rows(_resolved(node), f"{path}.", value, when)
        elif "discriminator" in node:
            yield from _union(path, node, value)
        elif "const" not in node:  # constants are in the heading
            written = _yaml(value).replace("|", "\\|") if key in (shipped or {}) else ""
            yield (
                f"`{path}`",
                _values(node) + when,
                f"`{written}`" if 0 < len(written) < LONGEST else "",
                _comment(shipped, key),
            )


def _union(path: str, node: dict[str, Any], shipped: Any) -> Iterator[Row]:
    mark = node["discriminator"]["propertyName"]
    kinds = {part["properties"][mark]["const"]: part for part in _alternatives(node)}
    meaning = "<br>".join(f"`{kind}`: {' '.join(part['description'].split())}" for kind, part in kinds.items())
    chosen = (shipped or {}).get(mark)
    yield f"`{path}.{mark}`", ", ".join(f"`{kind}`" for kind in kinds), f"`{chosen}`" if chosen else "", meaning
    for kind, part in kinds.items():
        yield from _rows(part, f"{path}.", shipped if chosen == kind else None, f" (with `{mark}: {kind}`)")


def _values(node: dict[str, Any]) -> str:
    """Type and range in words."""
    if "const" in node or "enum" in node:
        return ", ".join(f"`{_yaml(value)}`" for value in node.get("enum", [node.get("const")]))
    if "anyOf" in node or "oneOf" in node:
        return " or ".join(dict.fromkeys(_values(_resolved(part)) for part in node.get("anyOf", node.get("oneOf"))))
    if node["type"] == "array":
        return f"list: {_values(_resolved(node['items']))}"
    words = {"string": "text", "boolean": "`true`, `false`", "null": "`null`", "object": "block"}
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    ranges = [f"{word} {node[limit]:g}" for limit, word in limits.items() if limit in node and node[limit] < 2**31]
    if {"minimum", "maximum"} <= node.keys():
        ranges = [f"{node['minimum']:g} to {node['maximum']:g}"]
    return ", ".join([words.get(node["type"], node["type"]), *ranges])


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _comment(shipped: Any, key: str) -> str:
    """The comment after a key in the shipped file; single keys have no other description."""
    token = getattr(shipped, "ca", None) and shipped.ca.items.get(key, [None] * 3)[2]
    return token.value.split("\n")[0].lstrip("# ").strip().replace("|", "\\|") if token else ""


def _title(name: str) -> str:
    return SHARED[name][0]


def _example_of(name: str) -> Any:
    """The first shipped block of that form."""
    key = SHARED[name][1]
    entries = [*_shipped(PARAMS)["detectors"].values(), *_shipped(ROSTER)["detectors"].values()]
    return next(entry[key] for entry in entries if set(BLOCKS[name]["required"]) == set(entry.get(key, {})))
