"""The routes as one HTML page, made of the OpenAPI document; it loads nothing from elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any

from medscreen.reporting.pages.html_page import page


def api_page(document: Mapping[str, Any]) -> str:
    """A page with each route, its parameters, its answers and the tables of their fields."""
    return page("\n".join(_lines(document)), "medscreen: the service's routes")


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
            yield "\nAnswers: " + ", ".join(f"{s} {a['description']}" for s, a in route["responses"].items()) + "\n"
    for name, schema in document["components"]["schemas"].items():
        yield f"## {name}\n\n{schema.get('description', '')}\n\n| field | description |\n|---|---|"
        for field, about in schema.get("properties", {}).items():
            yield f"| {field} | {about.get('description', '')} |"
        yield ""


def _words(allowed: Mapping[str, Any]) -> str:
    return ", ".join(str(value) if name == "type" else f"{name} {value}" for name, value in allowed.items())
