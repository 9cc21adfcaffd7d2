"""Validation errors of settings as sentences: key, value and the expected values."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ValidationError

from medscreen.config.former_names import KEYS

Problem = Mapping[str, Any]
"""One of `ValidationError.errors()`."""

# By pydantic's name of an error, and filled with its context, what was wanted.
_WANTED = {
    "bool_type": "true or false",
    "dict_type": "a block of keys",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "a block of keys",
    "model_type": "a block of keys",
    "none_required": "null",
    "recursion_loop": "a block that does not hold itself",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text that is not empty",
    "string_type": "text",
}


def first_problem(error: ValidationError, content: Any, model: type[BaseModel]) -> str:
    """The first thing that is wrong with a file's content, which `model` refused, as a sentence with its dotted key."""
    problems = error.errors(include_url=False)
    problem = _inside_the_block(problems, content)
    key = _key(problem["loc"], content)
    match problem["type"]:
        case "extra_forbidden" | "missing":
            return _about_a_key(problem, problems, content)
        case "union_tag_invalid" | "union_tag_not_found":
            chooser = problem["ctx"]["discriminator"].strip("'")
            choices = problem["ctx"].get("expected_tags") or _choices(problem["loc"], chooser, content, model)
            given = problem["input"].get(chooser, "")
            what = (
                shorten(repr(given), 80)
                if "tag" in problem["ctx"]
                else f"missing{_misspelled(chooser, problem['input'])}"
            )
            return f"{key}.{chooser} is {what}; it has to be {choices}{_nearest(given, choices)}."
        case "invalid_key":
            block = _key(problem["loc"][:-1], content)
            return f"{_joined(block, str(problem['loc'][-1]))} is no known key: keys are text; correct it."
        case "string_type" if isinstance(problem["input"], bool | int | float | date):
            given = str(problem["input"]) if isinstance(problem["input"], date) else repr(problem["input"])
            return (
                f"{key} is {given} to YAML where text is wanted; put what you mean in quotes, as in 'no', 'on' or '0'."
            )
        case "value_error":
            return f"{_own_words(problem)}; correct {key or 'it'}."
        case _:
            alike = [other for other in problems if _key(other["loc"], content) == key]
            return f"{key or 'its content'} = {shorten(repr(problem['input']), 80)} is not valid: {reason(alike)}."


def reason(problems: Sequence[Problem]) -> str:
    """The reason for refusing a value; of a union, the alternatives together."""
    first = problems[0]
    match first["type"]:
        case "missing":
            return f"{first['loc'][-1]} is missing"
        case "extra_forbidden":
            return f"{first['loc'][-1]} is no known key"
        case "union_tag_invalid" | "union_tag_not_found":
            chooser, choices = first["ctx"]["discriminator"].strip("'"), first["ctx"].get("expected_tags")
            return f"its {chooser} has to be {choices}" if choices else f"it needs a {chooser}"
        case "value_error":
            return _own_words(first)
        case "dimension":
            return str(first["msg"])
    wanted = list(dict.fromkeys(_wanted(problem) for problem in problems))
    if "a number" in wanted:
        wanted = [what for what in wanted if what != "a whole number"]
    nearest = next((_nearest(p["input"], p["ctx"]["expected"]) for p in problems if p["type"] == "literal_error"), "")
    return f"it has to be {' or '.join(wanted)}{nearest}"


def _wanted(problem: Problem) -> str:
    if problem["type"] in {"too_short", "too_long"}:
        words = ("at least", "min_length") if problem["type"] == "too_short" else ("at most", "max_length")
        number = problem["ctx"][words[1]]
        return f"{words[0]} {number} {'entry' if number == 1 else 'entries'} long"
    return _WANTED.get(problem["type"], "of another kind").format(**problem.get("ctx", {}))


def _own_words(problem: Problem) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")


def _inside_the_block(problems: Sequence[Problem], content: Any) -> Problem:
    """The first problem or, where a block could have been a word or a block, the first inside of it."""
    first = problems[0]
    if isinstance(first["input"], dict | list) and first["type"] not in {"missing", "extra_forbidden", "value_error"}:
        key = _key(first["loc"], content)
        for problem in problems:
            inside = _key(problem["loc"], content)
            if inside.startswith(f"{key}.") or (inside == key and problem["type"] == "missing"):
                return problem
    return first


def _about_a_key(problem: Problem, problems: Sequence[Problem], content: Any) -> str:
    """A key that is missing, or unknown; both are one where the unknown one is a spelling of the missing one."""
    block = _key(problem["loc"][:-1], content)

    def names(kind: str) -> list[str]:
        return [str(p["loc"][-1]) for p in problems if p["type"] == kind and _key(p["loc"][:-1], content) == block]

    for unknown in names("extra_forbidden"):
        if (new := KEYS.get(unknown)) in names("missing"):
            return f"{_joined(block, unknown)} is now named {new}; rename the key."
        if meant := get_close_matches(unknown, names("missing"), 1):
            return f"{_joined(block, unknown)} is no known key, and {meant[0]} is missing; correct its spelling."
    key = _joined(block, str(problem["loc"][-1]))
    if problem["type"] == "missing":
        return f"{key} is missing; every key of the file is needed."
    return f"{key} is no known key; remove it or correct its spelling."


def _joined(block: str, name: str) -> str:
    return f"{block}.{name}".removeprefix(".")


def _path(location: Sequence[str | int], content: Any) -> Iterator[tuple[str, Any]]:
    """Key and value, from the outermost on, of an error's location: without what pydantic puts between the keys."""
    at = content
    for part in location:
        inside = dict(enumerate(at)) if isinstance(at, list) else at
        if isinstance(inside, dict) and part in inside:
            at = inside[part]
            yield str(part), at


def _key(location: Sequence[str | int], content: Any) -> str:
    return ".".join(key for key, _ in _path(location, content))


def _choices(location: Sequence[str | int], chooser: str, content: Any, model: type[BaseModel]) -> str:
    """Allowed values of a discriminator; pydantic lists them for a wrong value, not for a missing one."""
    block = [value for _, value in _path(location, content)][-1]
    block[chooser] = ""
    try:
        model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        return next((str(p["ctx"]["expected_tags"]) for p in problems if p["loc"] == location), "")
    return ""


def _misspelled(key: str, block: Mapping[Any, Any]) -> str:
    near = get_close_matches(key, [name for name in block if isinstance(name, str) and name != key], 1)
    return f" ({near[0]} is no known key)" if near else ""


def _nearest(given: Any, choices: str) -> str:
    """The choice whose spelling is nearest to the given word, in brackets; "" where none is."""
    known = [choice.strip(" '") for choice in choices.replace(" or ", ", ").split(",")]
    near = get_close_matches(given.lower(), known, 1) if isinstance(given, str) else []
    return f" (nearest: {near[0]!r})" if near else ""
