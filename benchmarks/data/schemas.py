"""What every FastAPI side answers and takes."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict

__all__ = ["Item", "NewItem", "Page"]


class NewItem(BaseModel):
    name: str
    email: str
    age: int
    active: bool
    created_at: dt.datetime


class Item(NewItem):
    model_config = ConfigDict(from_attributes=True)

    id: int


class Page(BaseModel):
    page: int
    size: int
    count: int
    items: list[Item]
