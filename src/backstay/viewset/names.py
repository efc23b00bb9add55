"""What a view set's routes are called: for people, for ``url_path_for``, for generated clients."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi.routing import APIRoute

__all__ = ["Names", "operation_id", "plural", "resource_of", "singular", "spoken"]

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ENDINGS = ("ViewSet", "View")


@dataclass(frozen=True, slots=True)
class Names:
    """What the items of a view set are called.

    Attributes:
        resource: in names of routes: ``"order_line"``.
        noun: for people, ``"order line"``.
        nouns: several of them.
    """

    resource: str
    noun: str
    nouns: str

    @classmethod
    def of(cls, view: object) -> Names:
        """Those of a view set, which may say ``noun`` and ``plural`` itself."""
        resource = resource_of(type(view).__name__)
        noun = getattr(view, "noun", None) or singular(spoken(resource))
        return cls(resource, noun, getattr(view, "plural", None) or plural(noun))

    @property
    def a_noun(self) -> str:
        """``"an order"``."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"


def resource_of(class_name: str) -> str:
    """``"order_line"`` for ``OrderLineViewSet``: what its routes' names begin with."""
    for ending in _ENDINGS:
        if class_name.endswith(ending) and class_name != ending:
            class_name = class_name.removesuffix(ending)
            break
    return _HUMP.sub("_", class_name).lower()


def spoken(resource: str) -> str:
    """``"order line"`` for ``order_line``."""
    return resource.replace("_", " ")


def plural(noun: str) -> str:
    """Of a regular English noun; view sets of other ones say ``plural`` themselves."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def singular(noun: str) -> str:
    """Of a regular English noun that may be a plural."""
    if noun.endswith("ies") and len(noun) > 4:
        return f"{noun[:-3]}y"
    if re.search(r"(s|x|z|ch|sh)es$", noun):
        return noun[:-2]
    return noun[:-1] if re.search(r"[^su]s$", noun) else noun


def operation_id(route: APIRoute) -> str:
    """A stable OpenAPI ``operationId``: the verb and the whole path, ``list_api_v1_products``.

    FastAPI's own repeats the method and the handler's name; generated clients make functions of
    these, and people have to read them.
    """
    verb = route.name.rpartition(".")[2]
    parts = re.findall(r"\w+", re.sub(r"\{[^}]*\}", " ", route.path_format))
    return "_".join([verb, *parts])
