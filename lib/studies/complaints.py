"""What is wrong with a parameter, said in one sentence."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` or, when nothing is near, the list of valid names."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else f"; there are: {', '.join(known)}"


def explain(
    schema: type[BaseModel],
    values: dict[str, Any],
    origin: dict[str, str],
    error: ValidationError,
) -> str:
    """Return one sentence for the first of pydantic's complaints, unknown names first."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    name, location = spell(first["loc"], values), first["loc"]
    place = origin.get(location[0] if location else "", origin.get("", "parameters"))
    if first["type"] == "extra_forbidden":
        parts = [str(part) for part in location]
        return f"{place}: unknown parameter `{name}`{suggestion(parts[-1], fields(schema, parts))}"
    if first["type"] == "missing":
        return f"{place}: parameter `{name}` is missing; add it"
    if first["type"] == "union_tag_invalid":
        known = re.findall(r"'(\w+)'", first["ctx"]["expected_tags"])
        tag = first["ctx"]["tag"]
        return f"{place}: parameter `{name}.name` cannot be `{tag}`{suggestion(tag, known)}"
    if first["type"] == "union_tag_not_found":
        return f"{place}: parameter `{name}.name` is missing; add it"
    problem = first["msg"].removeprefix("Value error, ")
    problem = re.sub(r"^(Input|String|List) should", "should", problem)
    problem = re.sub(r"^Keys should be strings", "should be a name", problem)
    problem = re.sub(r" after validation, not \d+$", "", problem)
    if first["type"] == "string_pattern_mismatch":
        problem = "should hold lower-case letters, digits and _ only"
    if first["type"] in ("model_type", "model_attributes_type"):
        problem = "should hold `name: value` lines"
    given = "" if isinstance(first["input"], dict) else f", not {first['input']!r}"
    if first["type"] == "float_type":
        given += number_hint(first["input"])
    return f"{place}: parameter `{name}` {problem}{given}" if name else f"{place}: {problem}"


def number_hint(given: Any) -> str:
    """Say how to write a number such as `1e-3`, which YAML reads as text; empty for others."""
    try:
        number = float(given) if isinstance(given, str) else None
    except ValueError:
        number = None
    if number is None or not math.isfinite(number):
        return ""
    spellings = [given.lower().replace("e", ".0e", 1), yaml.safe_dump(number).split()[0]]
    valid = [text for text in spellings if isinstance(yaml.safe_load(text), float)]
    return f": YAML takes that for text; write {' or '.join(dict.fromkeys(valid))}"


def spell(location: tuple[int | str, ...], values: Any) -> str:
    """Write a location as `loss.margins[0]`, without the tags pydantic adds for unions."""
    written = ""
    for position, part in enumerate(location):
        inside = isinstance(values, dict) and part in values
        if isinstance(part, int):
            written += f"[{part}]"
            values = values[part] if isinstance(values, list) and part < len(values) else None
        elif inside or position == len(location) - 1:
            written += f".{part}" if written else part
            values = values.get(part) if isinstance(values, dict) else None
    return written


def fields(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the valid names at the place of an unknown one."""
    block = schema
    candidates: list[type[BaseModel]] = []
    for part in location[:-1]:
        if part in block.model_fields:
            candidates = list(blocks(block.model_fields[part].annotation))
            block = candidates[0] if candidates else block
        else:  # the tag of a union, or a place in a list
            tagged = [c for c in candidates if part in tags(c)]
            block = tagged[0] if tagged else block
    return list(block.model_fields)


def tags(block: type[BaseModel]) -> tuple[Any, ...]:
    """Return the values of `name` that choose a block of a union."""
    return get_args(block.model_fields["name"].annotation) if "name" in block.model_fields else ()


def blocks(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the parameter blocks inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from blocks(inner)
