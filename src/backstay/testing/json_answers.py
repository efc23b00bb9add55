"""What an API answered, compared with what it should have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol, TypeVar

__all__ = ["check_response_json", "rm_key_from_deep_dict"]

T = TypeVar("T")


class _Answer(Protocol):
    @property
    def status_code(self) -> int: ...

    @property
    def text(self) -> str: ...

    def json(self) -> Any: ...


def rm_key_from_deep_dict(data: T, keys: Collection[str]) -> T:
    """Remove keys from a dictionary and from all those inside it.

    Args:
        data: what JSON can say: dictionaries and lists within each other. It is changed.
        keys: which to remove, at any depth.

    Returns:
        ``data``.

    Raises:
        TypeError: ``keys`` is one string, whose letters it would be.
    """
    if isinstance(keys, str):
        raise TypeError(f"keys is a list of keys; got the string {keys!r}: write [{keys!r}]")
    waiting: list[Any] = [data]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            for key in keys:
                each.pop(key, None)
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return data


def check_response_json(
    response: _Answer,
    exp_status_code: int,
    exp_json: Any,
    exclude_list: Collection[str] | None = None,
) -> bool:
    """Compare an answer's status and its JSON.

    Args:
        response: what a client gave.
        exp_status_code: what its status should be.
        exp_json: what its body should be.
        exclude_list: keys that are not compared, at any depth: ids and times, say. They may stand
            in ``exp_json`` or not. ``None`` compares all.

    Returns:
        ``True``.

    Raises:
        AssertionError: it is something else; the message has both.
    """
    # pytest rewrites the asserts of tests, not these: the messages have to say it all.
    if response.status_code != exp_status_code:
        raise AssertionError(
            f"status {response.status_code} instead of {exp_status_code}; the answer was: "
            f"{response.text[:2000]}"
        )
    try:
        found = response.json()
    except ValueError:
        raise AssertionError(f"the answer is no JSON: {response.text[:2000]!r}") from None
    if exclude_list:
        found = rm_key_from_deep_dict(found, exclude_list)
        exp_json = rm_key_from_deep_dict(_copied(exp_json), exclude_list)
    if found != exp_json:
        differences = "\n".join(_differences(found, exp_json, "answer"))
        raise AssertionError(f"the answer's JSON differs:\n{differences}\nall of it: {found!r}")
    return True


def _copied(data: Any) -> Any:
    """Of dictionaries and lists; what they hold may be anything that knows equality."""
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_copied(value) for value in data]
    return data


def _differences(found: Any, expected: Any, where: str) -> list[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        lines = []
        for key in found.keys() | expected.keys():
            if key not in found:
                lines.append(f"  {where}[{key!r}] is missing, {expected[key]!r} expected")
            elif key not in expected:
                lines.append(f"  {where}[{key!r}] is {found[key]!r}, and should not be there")
            else:
                lines += _differences(found[key], expected[key], f"{where}[{key!r}]")
        return sorted(lines)
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        return [
            line
            for number, (one, other) in enumerate(zip(found, expected, strict=True))
            for line in _differences(one, other, f"{where}[{number}]")
        ]
    if found == expected:
        return []
    if isinstance(found, list) and isinstance(expected, list):
        return [f"  {where} has {len(found)} items instead of {len(expected)}: {found!r}"]
    return [f"  {where} is {found!r} instead of {expected!r}"]
