"""``@action``: routes of a view set beside the five that everybody knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Action", "action", "actions_of"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__backstay_action__"


@dataclass(frozen=True, slots=True)
class Action:
    """What ``@action`` was told.

    Attributes:
        detail: whether it is about one item, at ``{prefix}/{item_id}/{path}``.
        methods: HTTP methods.
        path: the last part of its address.
        options: for ``APIRouter.add_api_route``.
    """

    detail: bool
    methods: tuple[str, ...]
    path: str
    options: dict[str, Any] = field(default_factory=dict)


def action(
    *,
    detail: bool,
    methods: Sequence[str] = ("POST",),
    path: str | None = None,
    **options: Any,
) -> Callable[[F], F]:
    """Make a method of a view set a route of its own.

    Its parameters are those of any handler of FastAPI's; ``self`` is the view set::

        @action(detail=True)
        async def publish(self, item_id: int, ctx: Ctx) -> Article:
            article = await self.get_object(item_id, ctx)
            article.published = True
            return article

    Args:
        detail: ``True``: about one item, at ``{prefix}/{item_id}/{path}``, and the method takes
            ``item_id``; ``False``: about all of them, at ``{prefix}/{path}``.
        methods: HTTP methods.
        path: ``None``: the method's name, with hyphens for underscores.
        options: for ``APIRouter.add_api_route``, such as ``status_code`` and ``summary``.

    Raises:
        ValueError: there are no methods, or the path begins with a slash.
    """
    if isinstance(methods, str) or not methods:
        raise ValueError(f"methods= is a list such as ['POST']; got {methods!r}")
    if path is not None and (not path or path.startswith("/")):
        raise ValueError(f"path= is what comes after the slash, such as 'publish'; got {path!r}")

    def mark(function: F) -> F:
        setattr(
            function,
            _MARK,
            Action(
                detail=detail,
                methods=tuple(method.upper() for method in methods),
                path=function.__name__.replace("_", "-") if path is None else path,
                options=options,
            ),
        )
        return function

    return mark


def actions_of(view: object) -> list[tuple[str, Action]]:
    """The names of a view set's actions, in the order they are written, base classes first."""
    found: dict[str, Action | None] = {}
    for cls in reversed(type(view).__mro__):
        for name, value in vars(cls).items():
            if name in found or hasattr(value, _MARK):
                # What a subclass puts in its place without the mark is no action any more.
                found[name] = getattr(value, _MARK, None)
    return [(name, each) for name, each in found.items() if each is not None]
