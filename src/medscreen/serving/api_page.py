"""Self-contained HTML page of the routes, made from the OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from medscreen.reporting.pages.html_page import page


def api_page(document: Mapping[str, Any]) -> str:
    """HTML page of the routes with parameters, responses and tables of the response fields."""
    return page("\n".join(_lines(document)), "medscreen: routes of the service")


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"# medscreen\n\n**{document['info']['description']}** [OpenAPI document](openapi.json)\n"
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield f"## {method.upper()} {path}\n\n{route['description']}\n"
            if "requestBody" in route:
                yield f"Body: {', '.join(route['requestBody']['content'])}; {route['requestBody']['description']}\n"
            for parameter in route.get("parameters", []):
                allowed = {name: value for name, value in parameter["schema"].items() if name != "title"}
                yield f"- `{parameter['name']}` {_words(allowed)}: {parameter['description']}"
            yield "\nResponses: " + ", ".join(f"{s} {a['description']}" for s, a in route["responses"].items()) + "\n"
    for name, schema in document["components"]["schemas"].items():
        yield f"## {name}\n\n{schema.get('description', '')}\n\n| field | description |\n|---|---|"
        for field, about in schema.get("properties", {}).items():
            yield f"| {field} | {about.get('description', '')} |"
        yield ""


def _words(allowed: Mapping[str, Any]) -> str:
    return ", ".join(str(value) if name == "type" else f"{name} {value}" for name, value in allowed.items())
