"""How the routes of one view set get onto its router."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backstay.errors import BadViewSet
from backstay.viewset.actions import Action
from backstay.viewset.names import operation_id
from backstay.viewset.problems import PROBLEM_RESPONSES, ProblemRoute

if TYPE_CHECKING:
    from fastapi import APIRouter

    from backstay.viewset.declaration import Declaration
    from backstay.viewset.plan import Plan

__all__ = ["Routes"]


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

    @contextmanager
    def being_added(self) -> Iterator[None]:
        """Meanwhile, what is added to the router by whatever decorator is a route of the view set's.

        Overrides write ``@self.router.get(...)``, as for any router, and their errors should be
        answered like those of the rest.
        """
        router = self._router
        before = router.route_class
        ours = ProblemRoute.about(self._view.db_model, self._plan.projection.fields)
        router.route_class = (
            ours if issubclass(ours, before) else type(before.__name__, (ours, before), {})
        )
        try:
            yield
        finally:
            router.route_class = before

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
        self._router.add_api_route(
            f"{view.prefix}{path}",
            endpoint,
            methods=[method],
            name=f"{self._resource}.{verb}",
            tags=list(view.tags),
            dependencies=list(view.dependencies),
            summary=summary,
            description=f"{self._about}{description}",
            responses={**{status: PROBLEM_RESPONSES[status] for status in (*problems, 422, 503)}},
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
        options = {
            "name": f"{self._resource}.{name}",
            "generate_unique_id_function": operation_id,
            "responses": {each: PROBLEM_RESPONSES[each] for each in (422, 503)},
            **action.options,
        }
        options["tags"] = [*view.tags, *options.get("tags", ())]
        options["dependencies"] = [*view.dependencies, *options.get("dependencies", ())]
        place = f"{view.prefix}/{{item_id}}" if action.detail else view.prefix
        self._router.add_api_route(
            f"{place}/{action.path}", method, methods=list(action.methods), **options
        )
