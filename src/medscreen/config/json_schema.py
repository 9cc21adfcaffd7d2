"""JSON schema of params.yaml for editors: `make schema` writes it to docs/params.schema.json."""

import json

from medscreen.config.params import Params


def params_schema() -> str:
    """The schema as JSON text, without the titles that repeat each key."""
    return json.dumps(_untitled(Params.model_json_schema()), indent=1) + "\n"


def _untitled(node: object) -> object:
    if isinstance(node, dict):
        # for a setting named title the value is a block, not text
        return {key: _untitled(value) for key, value in node.items() if key != "title" or isinstance(value, dict)}
    return [_untitled(value) for value in node] if isinstance(node, list) else node
