from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Task(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    description: str | None = None


class Measurement(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    seconds: int


class TaskExecution(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    start_time: datetime | None = None
    note: str | None = None
    task: Task
    measurements: list[Measurement] = []
