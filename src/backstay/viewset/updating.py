"""PUT and PATCH: changes of items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from backstay.viewset.access import Access
from backstay.viewset.answers import item_answer
from backstay.viewset.changes import OWN_VALUES
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.signatures import (
    body,
    ctx_parameter,
    if_match_parameter,
    item_id_parameter,
    request_parameter,
    signed,
)

if TYPE_CHECKING:
    from backstay.db.orm import OrmAsync

__all__ = ["ViewSetUpdate"]


class ViewSetUpdate(GenericViewSet):
    """``PUT {prefix}/{item_id}`` and ``PATCH {prefix}/{item_id}``."""

    def _register_endpoint(self) -> None:
        self.update()
        self.patch()

    def update(self) -> Any:
        """Make the PUT route: all that the schema requires is sent, and the rest may be."""
        return self._changing(
            *("update", "PUT", self.plan.inputs.update, "Change"),
            "What the schema requires is sent; what else is left out stays as it is.",
        )

    def patch(self) -> Any:
        """Make the PATCH route: what is not sent stays as it is (RFC 7396, one level deep)."""
        return self._changing(
            *("patch", "PATCH", self.plan.inputs.patch, "Change parts of"),
            "What is not sent stays as it is.",
        )

    def _changing(self, verb: str, method: str, model: Any, does: str, says: str) -> Any:
        plan = self.plan
        alone = plan.may_commit_unread(
            self.patch_model if verb == "patch" else self.update_model
        ) and not self.overrides(
            *("db_update", "visible", "own_values", "check_object"),
            *("before_commit", "after_commit"),
        )

        async def update_item(
            request: Request, item_id: Any, item: Any, if_match: str | None = None, **_: Any
        ) -> Response:
            access = Access(request)
            plan.require_match_said(if_match)
            if alone and access.may_write_alone and not plan.has_say:
                row = await plan.update_alone(access, item_id, item, if_match)
                await plan.keeping.invalidate_now(request.scope)
                return item_answer(plan, row)
            obj = await self.change(access.ctx).update(item_id, item, if_match)
            if isinstance(obj, self.db_model):
                obj = await plan.written(access, obj)
            return item_answer(plan, obj)

        parameters = [
            request_parameter(),
            item_id_parameter(self.type_item_id),
            body("item", model),
        ]
        if plan.version is not None:
            parameters.append(if_match_parameter())
        if not alone:
            parameters.append(ctx_parameter())
        return self.routes.add(
            verb,
            signed(update_item, parameters),
            method=method,
            path="/{item_id}",
            summary=f"{does} {self.plan.names.a_noun}",
            description=says,
            response_model=self.pydantic_model,
            response_description="As it is now.",
            problems=plan.problems_of_changes(409),
        )

    async def db_update(self, item_id: Any, item: Any, aorm: OrmAsync) -> object:
        """Change an item. Override it, and call ``super().db_update(item_id, item, aorm)``.

        Args:
            item_id: the primary key.
            item: what the client has sent; what has not been sent stays as it is.
            aorm: the ORM, in the transaction that the answer waits for.

        Returns:
            The changed object, ``None`` if there is none.
        """
        values = {
            **self.plan.sent_attributes_of(item),
            **aorm.asession.info.get(OWN_VALUES, {}),
        }
        key = self.plan.key.read(item_id)
        return await aorm.update_item(self.db_model, key, values, deep=self.deep_schema)
