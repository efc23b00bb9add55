"""View sets."""

from datetime import timedelta
from typing import List  # noqa: UP035  # as people wrote it
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy import select

from backstay.auth import jwt_auth
from backstay.db import OrmAsync
from backstay.viewset import AppOrm, DefaultPaginator, FullViewSet
from tests.seeds.accelerator.core.cache import redis_client
from tests.seeds.accelerator.core.config import ROOT
from tests.seeds.accelerator.models.files import File as FileDb
from tests.seeds.accelerator.models.tasks import TaskExecution as TaskExecutionDb
from tests.seeds.accelerator.models.users import User as UserDb
from tests.seeds.accelerator.schemas.file import File
from tests.seeds.accelerator.schemas.task import TaskExecution
from tests.seeds.accelerator.schemas.user import User

router = APIRouter(prefix=f"{ROOT}/api/v1")
updated: list[object] = []
"""What went through the overridden method."""


class FileViewSet(FullViewSet):
    """
    Files and what they are called
    """

    # DB model
    db_model = FileDb
    # Schema model
    pydantic_model = File
    # Caching
    cache_class = redis_client
    cache_ttl = timedelta(minutes=10)
    # Pagination
    paginator_class = DefaultPaginator

    async def db_update(
        self, item_id: str | int | UUID, item: type[BaseModel], aorm: OrmAsync
    ) -> object:
        """Overriding the db_update method"""
        updated.append(item_id)
        return await super().db_update(item_id, item, aorm)


class UserViewSet(FullViewSet):
    """
    Users
    """

    db_model = UserDb
    pydantic_model = User

    def list(self):
        """Overriding the list method"""

        @self.router.get(f"{self.prefix}", tags=self.tags)
        async def get_list_items(
            skip: int = Query(0),
            limit: int = Query(100),
            aorm: OrmAsync = Depends(AppOrm.aget_orm),
        ) -> List[self.pydantic_model]:  # noqa: UP006
            return await aorm.get_list(
                select(self.db_model).offset(skip).limit(limit),
                deep=self.deep_schema,
                db_model=self.db_model,
            )

        return get_list_items


class TaskExecutionViewSet(FullViewSet):
    """
    Executions of tasks
    """

    db_model = TaskExecutionDb
    pydantic_model = TaskExecution

    paginator_class = DefaultPaginator

    # Nested schemas: related records are written and read with their parent
    deep_schema = True

    # Whoever has no token stays outside
    dependencies = [Depends(jwt_auth)]


router.views = [
    FileViewSet().as_view(router, prefix="/file"),
    UserViewSet().as_view(router, prefix="/user"),
    TaskExecutionViewSet().as_view(router, prefix="/taskexecution"),
]
