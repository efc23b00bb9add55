"""``GenericViewSet``: how what a class says becomes routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from fastapi import APIRouter

from backstay.errors import BadViewSet
from backstay.viewset.actions import actions_of
from backstay.viewset.changes import Change
from backstay.viewset.declaration import Declaration
from backstay.viewset.plan import Plan
from backstay.viewset.routes import Routes

if TYPE_CHECKING:
    from backstay.context import Context

__all__ = ["BaseViewSet", "GenericViewSet"]


class BaseViewSet(Declaration):
    """One verb of a view set; ``_register_endpoint`` makes its routes."""

    def _register_endpoint(self) -> None:
        """Add this verb's routes to ``self.router``."""


class GenericViewSet(BaseViewSet):
    """Routes for one table, read and written through one schema.

    A class says what, and ``as_view`` makes routes of it::

        class ProductViewSet(FullViewSet):
            '''What the shop sells.'''

            db_model = ProductRow
            pydantic_model = Product
            paginator_class = DefaultPaginator

        router.views = [ProductViewSet().as_view(router, prefix="/products")]

    ``pydantic_model`` alone is enough: what clients may send is derived from it (generated keys,
    ``read_only`` fields and columns that are not in it cannot be written), and no other column is
    ever selected.

    ``Declaration`` says what else it can be told. Besides, after ``as_view``:

    Attributes:
        router: where its routes are.
        name_pk: the name of the primary key.
        openapi_tag: its tag's name and description, for ``FastAPI(openapi_tags=...)``.
        plan: what is worked out from what the class says, once.
        routes: how routes get onto the router.
    """

    router: APIRouter
    name_pk: str
    openapi_tag: dict[str, str]
    plan: Plan
    routes: Routes

    # ------------------------------------------------------------------ for overrides to use

    async def get_object(self, item_id: Any, ctx: Context) -> Any:
        """One item as an object of ``ctx.db.session``, which nobody else can change meanwhile.

        Raises:
            ItemNotFound: there is none, or it is not visible.
        """
        obj = await self.change(ctx).locked(item_id)
        await self.plan.keeping.invalidate(ctx)
        return obj

    def change(self, ctx: Context) -> Change:
        """Changes of items, in the transaction of ``ctx.db``."""
        return Change(self, self.plan, ctx)

    # ------------------------------------------------------------------ becoming routes

    def as_view(self, router: APIRouter, prefix: str) -> Self:
        """Add this view set's routes to a router.

        Args:
            router: whose.
            prefix: their address below the router's, such as ``"/products"``.

        Returns:
            This view set, for ``router.views``.

        Raises:
            BadViewSet: something that it is told cannot be; the message says what.
        """
        for name in ("db_model", "pydantic_model"):
            if not hasattr(self, name):
                raise BadViewSet(
                    f"{type(self).__name__} has no {name}; say it in the class: {name} = ..."
                )
        if prefix and not prefix.startswith("/"):
            raise BadViewSet(f"prefix= begins with a slash, such as '/products'; got {prefix!r}")
        self.router = router
        self.prefix = prefix.rstrip("/")
        self.tags = list(getattr(self, "tags", None) or [type(self).__name__])
        self.plan = Plan(self)
        self.name_pk = ",".join(self.plan.key.names)
        if not hasattr(self, "type_item_id"):
            self.type_item_id = self.plan.key.type
        self.routes = Routes(self, router, self.plan)
        with self.routes.being_added():
            for name, each in actions_of(self):
                self.routes.add_action(name, each)
            for cls in type(self).__mro__:
                register = vars(cls).get("_register_endpoint")
                if register is not None:
                    register(self)
        self.openapi_tag = {"name": self.tags[0], "description": str(self)}
        return self

    def __str__(self) -> str:
        """What its tag says in the documentation."""
        doc = (type(self).__doc__ or "").strip() if "__doc__" in vars(type(self)) else ""
        facts = [f"**db_model**={self.db_model.__name__}"]
        names = [
            getattr(each.dependency, "__name__", type(each.dependency).__name__)
            for each in self.dependencies
        ]
        if names:
            facts.append(f"**dependencies**=[{', '.join(names)}]")
        if self.cache_class is not None:
            facts.append("**cache**=On")
        if self.deep_schema:
            facts.append("**deep_schema**=On")
        return f"{doc or 'ViewSet'}: {' '.join(facts)}"
