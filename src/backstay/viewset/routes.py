"""How the routes of one view set get onto its router."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends

from backstay.errors import BadLimit, BadViewSet
from backstay.limits.rate_limit import RateLimit, rate_limit
from backstay.viewset.actions import Action
from backstay.viewset.names import operation_id
from backstay.viewset.problems import PROBLEM_RESPONSES, ProblemRoute

if TYPE_CHECKING:
    from fastapi import APIRouter
    from fastapi.params import Depends as Dependency

    from backstay.viewset.declaration import Declaration
    from backstay.viewset.plan import Plan

__all__ = ["Routes"]

_LIMITED: Final = "This has been asked for too often. Retry-After says when to come again."
_KIND: Final = "application/problem+json"
_TOO_MANY: Final[dict[str, Any]] = {
    "description": _LIMITED,
    "content": {
        _KIND: {
            **PROBLEM_RESPONSES[503]["content"][_KIND],
            "example": {
                "type": "about:blank",
                "title": "Too Many Requests",
                "status": 429,
                "detail": _LIMITED,
            },
        }
    },
    "headers": {
        "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}},
        "RateLimit-Policy": {"description": "How often it may be.", "schema": {"type": "string"}},
        "RateLimit": {"description": "How much of that is left.", "schema": {"type": "string"}},
    },
}


class Routes:
    """Adds routes for a view set. Their errors are answered as problem details (RFC 9457).

    Args:
        view: the view set.
        router: whose routes they are to be.
        plan: the view set's.
    """

    def __init__(self, view: Declaration, router: APIRouter, plan: Plan) -> None:
        self._view = view
        self._router = router
        self._plan = plan
        self._resource = plan.names.resource
        about = inspect.cleandoc(vars(type(view)).get("__doc__") or "")
        self._about = f"{about}\n\n" if about else ""
        self._limits = _limits_of(view)
        self._unplaced = set(self._limits) if isinstance(self._limits, dict) else set()

    @contextmanager
    def being_added(self) -> Iterator[None]:
        """Meanwhile, what is added to the router by whatever decorator is a route of the view set's.

        Overrides write ``@self.router.get(...)``, as for any router, and their errors should be
        answered like those of the rest.
        """
        router = self._router
        before, dependencies = router.route_class, router.dependencies
        ours = ProblemRoute.about(self._view.db_model, self._plan.projection.fields)
        router.route_class = (
            ours if issubclass(ours, before) else type(before.__name__, (ours, before), {})
        )
        if isinstance(self._limits, RateLimit):
            # The router's for a moment, so that overrides cannot forget it.
            router.dependencies = [*dependencies, Depends(self._limits)]
        try:
            yield
        finally:
            router.route_class, router.dependencies = before, dependencies
        if self._unplaced:
            raise BadViewSet(
                f"{type(self._view).__name__}.rate_limits speaks of "
                f"{', '.join(sorted(self._unplaced))}, and there is no such verb or action; "
                "verbs are list, retrieve, create, update (PUT), patch, delete, bulk_create, "
                "bulk_update and bulk_delete. A method that makes a route of its own in place of "
                "one gives it dependencies=[Depends(rate_limit(...))]"
            )

    def add(
        self,
        verb: str,
        endpoint: Callable[..., Any],
        *,
        method: str,
        path: str = "",
        summary: str,
        description: str,
        problems: Sequence[int] = (),
        **options: Any,
    ) -> Callable[..., Any]:
        """Add one of the view set's own routes.

        Args:
            verb: ``"list"``, ``"create"``...
            endpoint: its handler.
            method: HTTP method.
            path: below the view set's prefix.
            summary: for OpenAPI, a few words.
            description: for OpenAPI, behind what the class says of itself.
            problems: statuses it answers with besides, each as problem details.
            options: for ``APIRouter.add_api_route``.

        Returns:
            The handler.
        """
        view = self._view
        limits = self._limits_on(verb)
        self._router.add_api_route(
            f"{view.prefix}{path}",
            endpoint,
            methods=[method],
            name=f"{self._resource}.{verb}",
            tags=list(view.tags),
            dependencies=[*limits, *view.dependencies],
            summary=summary,
            description=f"{self._about}{description}",
            responses=self._responses((*problems, 422, 503), limits),
            generate_unique_id_function=operation_id,
            **options,
        )
        return endpoint

    def add_action(self, name: str, action: Action) -> None:
        """Add a method that is marked with ``@action``.

        Raises:
            BadViewSet: it is about one item, but takes no ``item_id``.
        """
        view = self._view
        method = getattr(view, name)
        if action.detail and "item_id" not in inspect.signature(method).parameters:
            raise BadViewSet(
                f"{type(view).__name__}.{name} is an action about one item, so it takes item_id; "
                "add that parameter, or say @action(detail=False)"
            )
        limits = self._limits_on(name)
        options = {
            "name": f"{self._resource}.{name}",
            "generate_unique_id_function": operation_id,
            "responses": self._responses((422, 503), limits),
            **action.options,
        }
        options["tags"] = [*view.tags, *options.get("tags", ())]
        options["dependencies"] = [
            *limits,
            *view.dependencies,
            *options.get("dependencies", ()),
        ]
        place = f"{view.prefix}/{{item_id}}" if action.detail else view.prefix
        self._router.add_api_route(
            f"{place}/{action.path}", method, methods=list(action.methods), **options
        )

    def _limits_on(self, verb: str) -> list[Dependency]:
        """What a route needs besides what ``being_added`` gives all of them."""
        if not isinstance(self._limits, dict):
            return []
        self._unplaced.discard(verb)
        return [Depends(self._limits[verb])] if verb in self._limits else []

    def _responses(
        self, statuses: Sequence[int], limits: Sequence[Dependency]
    ) -> dict[int | str, dict[str, Any]]:
        """What OpenAPI says of refusals."""
        found: dict[int | str, dict[str, Any]] = {}
        found |= {status: PROBLEM_RESPONSES[status] for status in statuses}
        if limits or isinstance(self._limits, RateLimit):
            found[429] = _TOO_MANY
        return found


def _limits_of(view: Declaration) -> RateLimit | dict[str, RateLimit] | None:
    said = view.rate_limits
    if said is None:
        return None
    if isinstance(said, Mapping):
        return {verb: _limit(view, each) for verb, each in said.items()}
    return _limit(view, said)


def _limit(view: Declaration, said: str | RateLimit) -> RateLimit:
    if isinstance(said, RateLimit):
        return said
    try:
        return rate_limit(said)
    except BadLimit as error:
        raise BadViewSet(f"{type(view).__name__}.rate_limits: {error}") from error
