"""Many items in one request: all of them are written, or none."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field, create_model
from starlette.requests import Request
from starlette.responses import Response

from backstay.viewset.access import Access
from backstay.viewset.answers import json_answer
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.signatures import body, ctx_parameter, keyword, request_parameter, signed

__all__ = ["Deleted", "ViewSetBulk"]

_PATH = "/bulk"


class Deleted(BaseModel):
    """How many items are gone."""

    deleted: int


class ViewSetBulk(GenericViewSet):
    """``POST``, ``PATCH`` and ``DELETE`` of ``{prefix}/bulk``, up to ``bulk_limit`` items each.

    Each item goes through the same hooks and checks as alone. The first that will not do is
    answered as it would be alone, and nothing is written.
    """

    def _register_endpoint(self) -> None:
        self.bulk_create()
        self.bulk_update()
        self.bulk_delete()

    def bulk_create(self) -> Any:
        """Make the POST route: a list of new items."""
        plan = self.plan
        alone = plan.may_commit_unread(self.create_model) and not self.overrides(
            "db_create", "_to_db_item", "visible", "own_values", "before_commit", "after_commit"
        )

        async def bulk_create_items(request: Request, items: Any, **_: Any) -> Response:
            access = Access(request)
            values = [plan.values_of(item) for item in items] if alone and not plan.has_say else []
            if values and len({frozenset(each) for each in values}) == 1:
                # One statement for all; its answers come in the order of its parameters.
                session = access.ctx.db.session
                rows = (await session.execute(plan.insert_many, values)).all()
                await plan.keeping.invalidate(access.ctx)
            else:
                change = self.change(access.ctx)
                made = [await change.create(item) for item in items]
                rows = await plan.all_written(access, made)
            return json_answer(plan.dump(rows), status=201)

        items = self._several(plan.inputs.create)
        return self.routes.add(
            "bulk_create",
            signed(bulk_create_items, [request_parameter(), body("items", items), ctx_parameter()]),
            method="POST",
            path=_PATH,
            status_code=201,
            summary=f"Create many {self.plan.names.nouns}",
            description="All of them are written, or none.",
            response_model=self.plan.projection.many,
            response_description="All of them are written.",
            problems=(409,),
        )

    def bulk_update(self) -> Any:
        """Make the PATCH route: a list of changes, each with the key of the item it changes."""
        plan = self.plan

        async def bulk_update_items(request: Request, items: Any, **_: Any) -> Response:
            access = Access(request)
            plan.require_match_said(None)
            change = self.change(access.ctx)
            made = [await change.update(each.bulk_key, each) for each in items]
            return json_answer(plan.dump(await plan.all_written(access, made)))

        items = self._several(self._with_key(plan.inputs.patch))
        return self.routes.add(
            "bulk_update",
            signed(bulk_update_items, [request_parameter(), body("items", items), ctx_parameter()]),
            method="PATCH",
            path=_PATH,
            summary=f"Change many {self.plan.names.nouns}",
            description="Each item names what it changes by its key. All of them are changed, or none.",
            response_model=self.plan.projection.many,
            response_description="As they are now.",
            problems=(404, 409),
        )

    def bulk_delete(self) -> Any:
        """Make the DELETE route: ``?id=1&id=2``."""
        plan = self.plan

        async def bulk_delete_items(request: Request, id: Any, **_: Any) -> Response:  # noqa: A002  # the parameter's name in the address
            plan.require_match_said(None)
            change = self.change(Access(request).ctx)
            keys = list(dict.fromkeys(id))
            for each in keys:
                await change.delete(each)
            return json_answer(Deleted(deleted=len(keys)).model_dump_json().encode())

        item_id: Any = self.type_item_id
        ids = Annotated[
            list[item_id],
            Query(min_length=1, max_length=self.bulk_limit, description="The keys of the items."),
        ]
        return self.routes.add(
            "bulk_delete",
            signed(bulk_delete_items, [request_parameter(), keyword("id", ids), ctx_parameter()]),
            method="DELETE",
            path=_PATH,
            summary=f"Delete many {self.plan.names.nouns}",
            description="All of them are deleted, or none.",
            response_model=Deleted,
            response_description="They are gone.",
            problems=(404, 409),
        )

    def _several(self, model: Any) -> Any:
        """A list of those, within the limit."""
        return Annotated[list[model], Field(min_length=1, max_length=self.bulk_limit)]

    def _with_key(self, patch: type[BaseModel]) -> type[BaseModel]:
        """The PATCH schema with the item's key, under its own name or, of several columns, ``key``."""
        key = self.plan.key
        name = "key" if key.is_composite else key.names[0]
        fields: dict[str, Any] = {name: (self.type_item_id, Field(description="Which item."))}
        made: type[BaseModel] = create_model(f"{patch.__name__}InBulk", __base__=patch, **fields)
        made.bulk_key = property(lambda item: getattr(item, name))  # type: ignore[attr-defined]  # read above
        return made
