"""Routes written by hand, over the manager."""

import uuid
from typing import List  # noqa: UP035  # as people wrote it

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from backstay.db import OrmAsync
from tests.seeds.accelerator.core.config import ROOT
from tests.seeds.accelerator.core.db import DatabaseManager
from tests.seeds.accelerator.models.files import File as FileDb
from tests.seeds.accelerator.schemas.file import File

router = APIRouter(prefix=ROOT)


class FileView:
    @router.get("/file")
    async def get_files(
        skip=Query(0),
        limit=Query(100),
        aorm: OrmAsync = Depends(DatabaseManager.aget_orm),
    ) -> List[File]:  # noqa: UP006
        return await aorm.get_list(select(FileDb).offset(skip).limit(limit))

    @router.get("/file/{file_uid}")
    async def get_file(
        file_uid: uuid.UUID = Path(),
        aorm: OrmAsync = Depends(DatabaseManager.aget_orm),
    ) -> File:
        file = await aorm.get(select(FileDb).filter(FileDb.uid == file_uid))
        if file is None:
            raise HTTPException(404)
        return file

    @router.post("/file")
    async def create_file(
        aorm: OrmAsync = Depends(DatabaseManager.aget_orm),
    ) -> File:
        file_uid = uuid.uuid4()
        new_user = FileDb(uid=file_uid)
        return await aorm.create_item(new_user)

    @router.put("/file/{file_uid}")
    async def update_file(
        file_uid: uuid.UUID = Path(),
        aorm: OrmAsync = Depends(DatabaseManager.aget_orm),
    ) -> File | None:
        update_data = {"filename": "new"}
        return await aorm.update(update(FileDb).filter(FileDb.uid == file_uid), update_data)

    @router.delete("/file/{file_uid}")
    async def delete_file(
        file_uid: uuid.UUID = Path(),
        aorm: OrmAsync = Depends(DatabaseManager.aget_orm),
    ):
        return await aorm.delete(delete(FileDb).filter(FileDb.uid == file_uid))


@router.get("/file-sync")
async def get_file_sync(
    session: Session = Depends(DatabaseManager.get_session),
) -> List[File]:  # noqa: UP006
    skip = 0
    limit = 100
    res = session.query(FileDb).offset(skip).limit(limit).all()
    return res  # noqa: RET504
