"""Validation errors of settings as sentences: key, value and the expected values."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ValidationError

from medscreen.config.former_names import KEYS

Problem = Mapping[str, Any]
"""One item of `ValidationError.errors()`."""

# pydantic's error type -> expected value, formatted with the error's context
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
    "recursion_loop": "a block that does not contain itself",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text that is not empty",
    "string_type": "text",
}


def first_problem(error: ValidationError, content: Any, model: type[BaseModel]) -> str:
    """Message for the first error in content that `model` refused, with its dotted key."""
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
            return f"{_joined(block, str(problem['loc'][-1]))} is not a known key: keys are text. Correct it."
        case "string_type" if isinstance(problem["input"], bool | int | float | date):
            given = str(problem["input"]) if isinstance(problem["input"], date) else repr(problem["input"])
            return f"{key} is {given} in YAML, but has to be text. Put it in quotes, such as 'no', 'on' or '0'."
        case "value_error":
            return f"{_own_words(problem)}; correct {key or 'it'}."
        case _:
            alike = [other for other in problems if _key(other["loc"], content) == key]
            return f"{key or 'its content'} = {shorten(repr(problem['input']), 80)} is not valid: {reason(alike)}."


def reason(problems: Sequence[Problem]) -> str:
    """Reason for refusing a value; the alternatives of a union are joined."""
    first = problems[0]
    match first["type"]:
        case "missing":
            return f"{first['loc'][-1]} is missing"
        case "extra_forbidden":
            return f"{first['loc'][-1]} is not a known key"
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
    return _WANTED.get(problem["type"], "of another type").format(**problem.get("ctx", {}))


def _own_words(problem: Problem) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")


def _inside_the_block(problems: Sequence[Problem], content: Any) -> Problem:
    """The first problem or, for a value that may be a word or a block, the first problem inside the block."""
    first = problems[0]
    if isinstance(first["input"], dict | list) and first["type"] not in {"missing", "extra_forbidden", "value_error"}:
        key = _key(first["loc"], content)
        for problem in problems:
            inside = _key(problem["loc"], content)
            if inside.startswith(f"{key}.") or (inside == key and problem["type"] == "missing"):
                return problem
    return first


def _about_a_key(problem: Problem, problems: Sequence[Problem], content: Any) -> str:
    """Message for a missing or unknown key; one message for both if the unknown key is a misspelling."""
    block = _key(problem["loc"][:-1], content)

    def names(kind: str) -> list[str]:
        return [str(p["loc"][-1]) for p in problems if p["type"] == kind and _key(p["loc"][:-1], content) == block]

    for unknown in names("extra_forbidden"):
        if (new := KEYS.get(unknown)) in names("missing"):
            return f"{_joined(block, unknown)} is now named {new}; rename the key."
        if meant := get_close_matches(unknown, names("missing"), 1):
            return f"{_joined(block, unknown)} is not a known key, and {meant[0]} is missing. Correct its spelling."
    key = _joined(block, str(problem["loc"][-1]))
    if problem["type"] == "missing":
        return f"{key} is missing; every key of the file is needed."
    return f"{key} is not a known key. Remove it or correct its spelling."


def _joined(block: str, name: str) -> str:
    return f"{block}.{name}".removeprefix(".")


def _path(location: Sequence[str | int], content: Any) -> Iterator[tuple[str, Any]]:
    """Keys and values of an error's location, outermost first, without pydantic's own parts between the keys."""
    at = content
    for part in location:
        inside = dict(enumerate(at)) if isinstance(at, list) else at
        if isinstance(inside, dict) and part in inside:
            at = inside[part]
            yield str(part), at


def _key(location: Sequence[str | int], content: Any) -> str:
    return ".".join(key for key, _ in _path(location, content))


def _choices(location: Sequence[str | int], chooser: str, content: Any, model: type[BaseModel]) -> str:
    """Allowed values of a discriminator, which pydantic lists for a wrong value but not for a missing one."""
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
    return f" ({near[0]} is not a known key)" if near else ""


def _nearest(given: Any, choices: str) -> str:
    """The choice with the most similar spelling, in parentheses; "" if none is similar."""
    known = [choice.strip(" '") for choice in choices.replace(" or ", ", ").split(",")]
    near = get_close_matches(given.lower(), known, 1) if isinstance(given, str) else []
    return f" (nearest: {near[0]!r})" if near else ""
