"""What is wrong with a client's arguments, told so that the model behind it can mend them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ValidationError

from backstay.errors import BackstayError

__all__ = ["InvalidInputs", "Problem", "find_problems"]

_MOST_PROBLEMS = 10
_MOST_FOUND = 80
_WRITABLE_BITS = 14_000  # some 4200 digits
_MOST_MESSAGE = 300
_MOST_PATH = 120
# pydantic writes out all its errors or none, a kilobyte each: beyond this many they are counted.
_MOST_ERRORS = 1_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the arguments.

    Attributes:
        path: where, as in ``items[2].price``; empty for the arguments as a whole.
        message: what is wrong and what is wanted.
        found: the value found, at most 80 characters; ``None`` where there is none to show: it is
            missing, it is a secret, or it is the name that is wrong.
    """

    path: str
    message: str
    found: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return text if self.found is None else f"{text} (found {self.found})"


class InvalidInputs(BackstayError):
    """The arguments of a call do not fit the widget's ``input_schema``.

    The message is a paragraph for the model that wrote them: what is wrong, what was found and
    how to mend it. It tells nothing of the program that refuses them.

    Attributes:
        problems: the first ten, one for each path.
        more: how many errors there are beyond those.
    """

    status = 422
    title: ClassVar[str] = "Unprocessable Content"
    public_detail: str = "The arguments do not fit what this tool takes."

    def __init__(self, problems: Sequence[Problem], *, more: int = 0) -> None:
        self.problems = tuple(problems)
        self.more = more
        told = "; ".join(map(str, problems))
        rest = f"; and {more} more" if more else ""
        whole = f"the arguments do not fit this tool's input schema: {told}{rest}"
        stop = "" if whole.endswith(("?", "!", ".")) else "."
        super().__init__(f"{whole}{stop} Correct them and call the tool again.")


def find_problems(
    error: ValidationError,
    arguments: object,
    schema: Mapping[str, Any],
    *,
    hidden: bool = False,
) -> InvalidInputs:
    """Tell what pydantic found, in words for whoever wrote the arguments.

    Args:
        error: what pydantic raised.
        arguments: what it was given.
        schema: the JSON schema they were to fit; says which names there are and what is secret.
        hidden: show no value at all (``hide_input_in_errors`` of the model's config).
    """
    count = error.error_count()
    if count > _MOST_ERRORS:
        return InvalidInputs(
            [Problem("", f"{count} values in them do not fit; look at the schema once more")]
        )
    merged: dict[str, Problem] = {}
    taken = 0
    for each in error.errors(include_url=False, include_context=False):
        steps, value = _follow(each["loc"], arguments, named=each["type"] == "missing")
        path = _write(steps)
        problem = _describe(each, steps, path, value, schema, hidden=hidden)
        known = merged.get(path)
        if known is None:
            if len(merged) == _MOST_PROBLEMS:
                continue
            merged[path] = problem
        elif problem.message not in known.message:
            # The branches of a union: any of them would do.
            message = _shorten(f"{known.message}, or: {problem.message}", _MOST_MESSAGE)
            merged[path] = Problem(path, message, known.found)
        taken += 1
    return InvalidInputs(list(merged.values()), more=count - taken)


def _shorten(text: str, most: int) -> str:
    """``text``, or as much of it as fits into ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _describe(
    error: Any,
    steps: Sequence[str | int],
    path: str,
    value: object,
    schema: Mapping[str, Any],
    *,
    hidden: bool,
) -> Problem:
    kind = error["type"]
    if kind == "missing":
        return Problem(path, "is required and is missing")
    if kind in ("extra_forbidden", "unexpected_keyword_argument") and steps:
        return Problem(path, _suggest(str(steps[-1]), steps[:-1], schema))
    message = error["msg"]
    for prefix in ("Value error, ", "Assertion failed, "):
        message = message.removeprefix(prefix)
    if type(value) is int and value.bit_length() > _WRITABLE_BITS:
        message = "has more digits than are taken"  # and no bound is told that has as many
    elif message.startswith("Input should"):
        message = message[len("Input ") :]
    secret = any(_is_secret(each) for each in _along(schema, steps))
    return Problem(
        path,
        _shorten(message, _MOST_MESSAGE),
        None if hidden or secret else _show(value),
    )


def _suggest(name: str, parent: Sequence[str | int], schema: Mapping[str, Any]) -> str:
    *_, at = [_branches(schema, schema), *_levels(schema, parent)]
    names = sorted({known for each in at for known in each.get("properties", ())})
    if not names:
        return "is unknown: nothing is taken here; leave it out"
    near = difflib.get_close_matches(name[:_MOST_FOUND], names, n=1, cutoff=0.7)
    if near:
        return f"is unknown; did you mean {near[0]!r}?"
    listed = _shorten(", ".join(names), _MOST_MESSAGE - 60)
    return f"is unknown; the names there are: {listed}"


def _follow(
    location: Sequence[str | int], arguments: object, *, named: bool
) -> tuple[list[str | int], object]:
    """The way to the value, without what pydantic mixes in: a union's branches, validators.

    Args:
        location: where pydantic says it is.
        arguments: what the way leads through.
        named: the last step is the name of something that is not there.
    """
    steps: list[str | int] = []
    value = arguments
    for index, step in enumerate(location):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(step, int) and isinstance(value, Sequence) and not isinstance(value, str):
            if not -len(value) <= step < len(value):
                continue
            value = value[step]
        elif not (named and index == len(location) - 1 and isinstance(value, Mapping)):
            continue
        steps.append(step)
    return steps, value


def _write(steps: Sequence[str | int]) -> str:
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{_printable(step)}" if path else _printable(step)
        if len(path) > _MOST_PATH:
            return _shorten(path, _MOST_PATH)
    return path


def _show(value: object) -> str | None:
    if isinstance(value, Mapping):
        return f"an object of {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        # Cut first: the text may have megabytes.
        return _shorten(repr(_printable(value[: _MOST_FOUND + 1])), _MOST_FOUND)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        # Python refuses to write an int of thousands of digits, and nobody would read it.
        return str(value) if value.bit_length() <= 200 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"{value}, which JSON does not have"
    return None  # no JSON: a call from within the process, whose objects are nobody's business


def _printable(text: str) -> str:
    # Lone surrogates, which JSON can write and no encoding can.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# ------------------------------------------------------------------ along the JSON schema


def _along(schema: Mapping[str, Any], steps: Sequence[str | int]) -> Iterator[Mapping[str, Any]]:
    for level in _levels(schema, steps):
        yield from level


def _levels(
    schema: Mapping[str, Any], steps: Sequence[str | int]
) -> Iterator[list[Mapping[str, Any]]]:
    """The schemas that may describe the value after each step: several, where there are unions."""
    level = _branches(schema, schema)
    for step in steps:
        inner: list[Mapping[str, Any]] = []
        for each in level:
            for found in _step(each, step):
                inner += _branches(found, schema)
        level = inner
        yield level


def _step(schema: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    if isinstance(step, str):
        known = schema.get("properties", {})
        candidates = [known[step] if step in known else schema.get("additionalProperties")]
    else:
        first = schema.get("prefixItems", [])
        candidates = [first[step] if 0 <= step < len(first) else schema.get("items")]
    for each in candidates:
        if isinstance(each, Mapping):
            yield each


def _branches(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    waiting, seen = [schema], set[str]()
    while waiting:
        each = waiting.pop()
        found.append(each)
        reference = each.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
            if isinstance(target, Mapping):
                waiting.append(target)
        for key in ("allOf", "anyOf", "oneOf"):
            waiting += [branch for branch in each.get(key, ()) if isinstance(branch, Mapping)]
    return found


def _is_secret(schema: Mapping[str, Any]) -> bool:
    return schema.get("writeOnly") is True or schema.get("format") == "password"
