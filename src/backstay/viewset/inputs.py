"""What clients may send to a view set, and what that says about the mapped class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from backstay.viewset.validators import Input

__all__ = ["Inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What clients may send.

    Attributes:
        create: for POST.
        update: for PUT.
        patch: for PATCH; what is not sent stays as it is.
        attributes: the mapped class's attributes by names of fields, where these differ.
    """

    create: type[BaseModel]
    update: type[BaseModel]
    patch: type[BaseModel]
    attributes: Mapping[str, str] = field(default_factory=dict)

    def values(self, item: BaseModel, *, sent_only: bool = False) -> dict[str, Any]:
        """What an item says, by the mapped class's attributes.

        Args:
            item: of one of the models above, or of any other that has taken their place.
            sent_only: leave out what was not sent, though it has a default.

        Returns:
            Values as they were validated, nested models too where a relation is written; models
            for other attributes, which are JSON then, as what JSON can hold. What the item has
            beside its fields (``extra="allow"``) is not there.
        """
        wanted = item.model_fields_set if sent_only else type(item).model_fields
        return {
            self.attributes.get(name, name): _storable(getattr(item, name))
            for name in type(item).model_fields
            if name in wanted
        }


def _storable(value: Any) -> Any:
    """A value for an attribute: models in it are written by ORM's deep writes, or are JSON."""
    if isinstance(value, BaseModel) and not isinstance(value, Input):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple | set | frozenset) and any(
        isinstance(each, BaseModel) and not isinstance(each, Input) for each in value
    ):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {name: _storable(each) for name, each in value.items()}
    return value
