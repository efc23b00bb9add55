"""What an integration proves with who it is; not to be read in logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Credentials"]


class Credentials(dict[str, Any]):
    """A dictionary that shows its keys and hides its values, where somebody prints it."""

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: '***'" for key in self) + "}"

    __str__ = __repr__

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"credentials= has no {name!r}; it has {', '.join(self) or 'nothing'}")

    def texts(self) -> tuple[str, ...]:
        """All texts in it, however they are wrapped: what nobody else may see."""
        return tuple(dict.fromkeys(_texts_in(self)))


def _texts_in(value: object) -> Iterator[str]:
    get = getattr(value, "get_secret_value", None)
    if callable(get):
        value = get()
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, bytes):
        yield from _texts_in(value.decode("latin-1"))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts_in(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _texts_in(each)
