"""Where values come from: what was given, then the environment, then ``.env``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from types import ModuleType
from typing import Any

from backstay.errors import SettingMissing

__all__ = ["Settings"]


class Settings:
    """Read-only settings behind ``ctx.settings``.

    Args:
        given: values that win over everything, or a settings model (an instance of pydantic's
            ``BaseSettings``, or any object with attributes), which then is the only source:
            such a model has already read the environment by its own rules.
        environ: the environment. ``None`` means ``os.environ``, read afresh at every look-up.
        fallback: called at most once, when a name is in neither; returns the last source,
            usually the contents of ``.env``.

    Raises:
        TypeError: ``given`` could hold no settings: a text, a number, a list, a path, a function,
            a model's class.
    """

    def __init__(
        self,
        given: Mapping[str, Any] | object | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        fallback: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._sources: tuple[Callable[[], Mapping[str, Any]], ...]
        self._defaults: dict[str, Any] = {}
        if given is None or isinstance(given, Mapping):
            values: Mapping[str, Any] = {} if given is None else given
            self._load_fallback = fallback
            self._fallback: Mapping[str, Any] | None = None
            self._sources = (
                lambda: values,
                lambda: os.environ if environ is None else environ,
                self._read_fallback,
            )
        else:
            model = _Attributes(_checked(given))
            self._sources = (lambda: model,)

    def _read_fallback(self) -> Mapping[str, Any]:
        if self._fallback is None:
            self._fallback = self._load_fallback() if self._load_fallback else {}
        return self._fallback

    def get(self, name: str, default: Any = None) -> Any:
        """The value of ``name`` from the first source that has it, else ``default``.

        Environment values are strings. A pydantic ``SecretStr`` is unwrapped: whoever asks
        for a secret by name needs the secret.
        """
        for source in self._sources:
            values = source()
            if name in values:
                return _revealed(values[name])
        return _revealed(self._defaults.get(name, default))

    def require(self, name: str) -> Any:
        """Like ``get``, but a missing value is an error.

        Raises:
            SettingMissing: no source has ``name``.
        """
        missing = object()
        value = self.get(name, missing)
        if value is missing:
            raise SettingMissing(
                f"the setting {name!r} has no value: pass it to install(app, settings={{...}}), "
                "set it in the environment, or write it into .env"
            )
        return value

    __getitem__ = require

    def set_default(self, name: str, value: Any) -> None:
        """Give ``name`` a value for when no source has one. For parts that are told it elsewhere.

        Args:
            name: which setting.
            value: what it is, unless a source knows better.
        """
        self._defaults[name] = value

    def __contains__(self, name: str) -> bool:
        return any(name in source() for source in self._sources) or name in self._defaults

    def __repr__(self) -> str:
        # Values may be secrets; a repr ends up in logs.
        return f"<{type(self).__name__} from {len(self._sources)} source(s)>"


class _Attributes(Mapping[str, Any]):
    """An object's public attributes as a mapping, found whatever their case.

    Models spell fields in lower case and the environment in upper case, and callers of
    ``settings.get("DATABASE_URL")`` should not have to know which one stands behind it.
    """

    def __init__(self, model: object) -> None:
        self._model = model
        fields = getattr(type(model), "model_fields", None)
        if fields is None:
            fields = [name for name in dir(model) if not name.startswith("_")]
        else:
            fields = [*fields, *getattr(type(model), "model_computed_fields", ())]
        self._names = {name.lower(): name for name in fields}

    def __getitem__(self, name: str) -> Any:
        return getattr(self._model, self._names[name.lower()])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names.values())

    def __len__(self) -> int:
        return len(self._names)


def _checked(model: object) -> object:
    if isinstance(model, type):
        # Of a plain class the attributes will do; a model's fields are its instances'.
        refused = hasattr(model, "model_fields")
    elif isinstance(model, ModuleType) or hasattr(model, "_fields"):  # of a named tuple
        refused = False
    else:
        refused = (
            isinstance(model, PathLike | str | bytes | int | float | list | tuple | set | frozenset)
            or type(model).__module__ == "builtins"
            or (callable(model) and hasattr(model, "__qualname__"))  # a function, cached or not
        )
    if refused:
        # Not the value: it may be a URL with a password.
        said = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(
            f"settings= has values by name, and got {said}; give a mapping ({{'NAME': value}}), an "
            "instance of a settings model (Settings(), not Settings; get_settings(), not "
            "get_settings), or an object with attributes. A file goes to env_file="
        )
    return model


def _revealed(value: Any) -> Any:
    reveal = getattr(value, "get_secret_value", None)
    return reveal() if callable(reveal) else value
