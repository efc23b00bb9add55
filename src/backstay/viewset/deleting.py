"""DELETE: items that go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from backstay.viewset.access import Access
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.signatures import (
    ctx_parameter,
    if_match_parameter,
    item_id_parameter,
    request_parameter,
    signed,
)

if TYPE_CHECKING:
    from backstay.db.orm import OrmAsync

__all__ = ["ViewSetDelete"]


class ViewSetDelete(GenericViewSet):
    """``DELETE {prefix}/{item_id}``."""

    def _register_endpoint(self) -> None:
        self.delete()

    def delete(self) -> Any:
        """Make the route. Override it to make another one, with ``@self.router.delete(...)``."""
        plan = self.plan
        alone = plan.deletes_alone and not self.overrides(
            "db_delete", "visible", "check_object", "before_commit", "after_commit"
        )

        async def delete_item(
            request: Request, item_id: Any, if_match: str | None = None, **_: Any
        ) -> Response:
            access = Access(request)
            plan.require_match_said(if_match)
            if alone and access.may_write_alone and not plan.has_say:
                await plan.delete_alone(access, item_id, if_match)
                await plan.keeping.invalidate_now(request.scope)
            else:
                await self.change(access.ctx).delete(item_id, if_match)
            return Response(status_code=204)

        parameters = [request_parameter(), item_id_parameter(self.type_item_id)]
        if plan.version is not None:
            parameters.append(if_match_parameter())
        if not alone:
            parameters.append(ctx_parameter())
        return self.routes.add(
            "delete",
            signed(delete_item, parameters),
            method="DELETE",
            path="/{item_id}",
            status_code=204,
            summary=f"Delete {self.plan.names.a_noun}",
            description="What belongs to it goes with it; what refers to it keeps it here.",
            response_description="It is gone.",
            problems=plan.problems_of_changes(409),
        )

    async def db_delete(self, item_id: Any, aorm: OrmAsync) -> int:
        """Delete an item, or mark it. Override it, and call ``super().db_delete(item_id, aorm)``.

        Related rows follow only where the relation's declared cascade says so.

        Args:
            item_id: the primary key.
            aorm: the ORM, in the transaction that the answer waits for.

        Returns:
            How many there were: 0 is answered with 404.
        """
        plan = self.plan
        key = plan.key.read(item_id)
        if plan.soft_delete is not None:
            marked = await aorm.update_item(self.db_model, key, plan.deletion_mark())
            return int(marked is not None)
        # Through the objects, so that declared cascades are followed, association rows included.
        return await aorm.delete_item(self.db_model, key, deep=True)
