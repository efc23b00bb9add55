from uuid import UUID

from pydantic import BaseModel, ConfigDict


class File(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    uid: UUID
    filename: str
