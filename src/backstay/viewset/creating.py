"""POST: new items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from backstay.db.nested import create_nested
from backstay.viewset.access import Access
from backstay.viewset.answers import item_answer
from backstay.viewset.changes import OWN_VALUES
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.signatures import body, ctx_parameter, request_parameter, signed

if TYPE_CHECKING:
    from backstay.db.orm import OrmAsync

__all__ = ["ViewSetCreate"]


class ViewSetCreate(GenericViewSet):
    """``POST {prefix}``."""

    def _register_endpoint(self) -> None:
        self.create()

    def create(self) -> Any:
        """Make the route. Override it to make another one, with ``@self.router.post(...)``."""
        plan = self.plan
        alone = plan.may_commit_unread(self.create_model) and not self.overrides(
            "db_create", "_to_db_item", "visible", "own_values", "before_commit", "after_commit"
        )

        async def create_item(request: Request, item: Any, **_: Any) -> Response:
            access = Access(request)
            if alone and access.may_write_alone and not plan.has_say:
                (row,) = await access.write(plan.insert, plan.values_of(item))
                await plan.keeping.invalidate_now(request.scope)
            else:
                ctx = access.ctx
                obj = await self.change(ctx).create(item)
                if not isinstance(obj, self.db_model):
                    return item_answer(plan, obj, status=201)
                row = await plan.written(access, obj)
            place = f"{request.url.path.rstrip('/')}/{plan.key.path_of(row)}"
            return item_answer(plan, row, status=201, location=place)

        parameters = [request_parameter(), body("item", plan.inputs.create)]
        if not alone:
            parameters.append(ctx_parameter())
        return self.routes.add(
            "create",
            signed(create_item, parameters),
            method="POST",
            status_code=201,
            summary=f"Create {self.plan.names.a_noun}",
            description="It is written when this is answered; `Location` says where it is.",
            response_model=self.pydantic_model,
            response_description="It is written.",
            problems=(403, 409) if self.overrides("visible") else (409,),
        )

    def _to_db_item(self, item: Any) -> Any:
        """The object to write for what a client has sent."""
        return self.db_model(**self.plan.attributes_of(item))

    async def db_create(self, item: Any, aorm: OrmAsync) -> object:
        """Write a new item. Override it, and call ``super().db_create(item, aorm)``.

        Args:
            item: what the client has sent.
            aorm: the ORM, in the transaction that the answer waits for.
        """
        own = aorm.asession.info.get(OWN_VALUES, {})
        if self.deep_schema:
            values = {**self.plan.attributes_of(item), **own}
            obj = await create_nested(aorm.asession, self.db_model, values)
            return await aorm.create_item(obj)
        obj = self._to_db_item(item)
        for name, value in own.items():
            setattr(obj, name, value)
        return await aorm.create_item(obj)
