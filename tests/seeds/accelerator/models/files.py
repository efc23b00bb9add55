import uuid

from sqlalchemy import Column, String, Uuid

from tests.seeds.accelerator.core.db import DatabaseManager

__all__ = ["File"]


class File(DatabaseManager.Base):
    __tablename__ = "files"

    uid = Column(Uuid, primary_key=True, default=uuid.uuid4, index=True)
    filename = Column(String, default="unnamed", index=True)
    storage_key = Column(String, default="s3://secret-bucket")
