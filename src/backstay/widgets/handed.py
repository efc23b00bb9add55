"""The instance handed to ``execute``: the user's own, with ``dict()`` as the seed writes it."""

from __future__ import annotations

import builtins
from abc import ABCMeta
from typing import Any

from pydantic import BaseModel

from backstay.widgets.canonical import to_json_values

__all__ = ["hand_over", "handed_class"]


class _Handed:  # noqa: PLW1641  # each class made from it has the hash of the user's
    """What is added to the user's class. In front of it, so that it is met first."""

    __slots__ = ()

    __backstay_model__: type[BaseModel]

    def __init_subclass__(cls) -> None:
        """Goes no further: a user's class that registers its subclasses hears of none here."""

    def dict(self, *, sort_keys: bool = False, **options: Any) -> builtins.dict[str, Any]:
        """The inputs as a dictionary, as ``model_dump`` gives it.

        Args:
            sort_keys: put the keys in order, at every depth, and make the values ones that
                ``json.dumps`` takes: bytes are base64, times ISO 8601, secrets masked.
            options: those of ``model_dump``.
        """
        dumped = self.model_dump(**options)  # type: ignore[attr-defined]  # the user's class has it
        if not sort_keys:
            return dumped  # type: ignore[no-any-return]  # as above
        return to_json_values(dumped)  # type: ignore[no-any-return]  # a dictionary gives one

    def __eq__(self, other: object) -> bool:
        # pydantic compares classes; to it ours would differ from the user's.
        if isinstance(other, _Handed):
            other = _as_users_own(other)
        return bool(_as_users_own(self) == other)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Other processes have the user's class and not ours.
        return _itself, (_as_users_own(self),)


def handed_class(model: type[BaseModel]) -> type[BaseModel] | None:
    """The class whose instances are handed over for ``model``; it has the same name.

    ``None`` if the model has a field or a method ``dict`` of its own, which is to be kept.
    """
    if "dict" in model.model_fields or model.dict is not BaseModel.dict:
        return None
    namespace = {
        "__slots__": (),  # the same layout, so that an instance can change over
        "__module__": model.__module__,
        "__qualname__": model.__qualname__,
        "__doc__": model.__doc__,
        "__hash__": model.__hash__,  # __eq__ would have taken it away
        "__backstay_model__": model,
    }
    # Past pydantic's metaclass: there is no field here, and nothing to build again.
    return ABCMeta.__new__(type(model), model.__name__, (_Handed, model), namespace)


def hand_over(instance: BaseModel, handed: type[BaseModel]) -> None:
    """Make ``instance`` one of ``handed``. It costs what setting an attribute costs."""
    object.__setattr__(instance, "__class__", handed)


def _itself(instance: BaseModel) -> BaseModel:
    return instance


def _as_users_own(handed: _Handed) -> BaseModel:
    """The same inputs as an instance of the user's class. Shares everything with ``handed``."""
    own = object.__new__(type(handed).__backstay_model__)
    for name in (
        "__dict__",
        "__pydantic_fields_set__",
        "__pydantic_extra__",
        "__pydantic_private__",
    ):
        object.__setattr__(own, name, getattr(handed, name))
    return own
