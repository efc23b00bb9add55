"""What the service of ``stage`` consists of: its tables, its people, its guarded routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.auth import BaseAuthJWT, Passwords, jwt_auth, require_roles
from backstay.db import MainDatabaseManager
from backstay.viewset import FullViewSet

__all__ = [
    "GUARDED",
    "PROFILE",
    "SOCKET",
    "ArticleRow",
    "Base",
    "CountingHasher",
    "Person",
    "Shopkeeping",
    "article_routes",
    "fill",
    "partner_app",
    "routes",
]

PROFILE = "/me"
SOCKET = "/live"

GUARDED = {
    "a dependency": ("GET", PROFILE),
    "a scope": ("GET", "/orders"),
    "a role": ("GET", "/reports"),
    "a router": ("GET", "/warehouse/stock"),
    "a mounted app": ("GET", "/partners/deals"),
    "a view set, reading": ("GET", "/articles"),
    "a view set, writing": ("POST", "/articles"),
    "a view set, deleting": ("DELETE", "/articles/1"),
    "what the library mounts": ("GET", "/check_protected"),
    "a way out": ("POST", "/logout/everywhere"),
}
"""Each documented way to guard a route, with a route that is. ``SOCKET`` is one more."""


class Base(DeclarativeBase):
    pass


class ArticleRow(Base):
    __tablename__ = "articles"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100))


class PersonRow(Base):
    __tablename__ = "people"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    password_hash: Mapped[str]


class Article(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str = Field(min_length=1, max_length=100)


class Articles(FullViewSet):
    db_model = ArticleRow
    pydantic_model = Article
    dependencies = [Security(jwt_auth, scopes=["articles"])]


@dataclass
class Person:
    """Somebody who may log in; the password is the name and ``" of the shop"``."""

    scopes: list[str]
    roles: list[str]
    more: dict[str, Any] = field(default_factory=dict)
    active: bool = True


class Shopkeeping(BaseAuthJWT):
    """Who may log in: the people of one stage, with their passwords in the database."""

    def __init__(
        self, people: dict[str, Person], passwords: Passwords, manager: MainDatabaseManager
    ) -> None:
        self.people = people
        self.passwords = passwords
        self.manager = manager

    async def check_auth(self, username: str, password: str) -> bool:
        async with self.manager.asession() as session:
            known = await session.get(PersonRow, username)
        return await self.passwords.verify(password, known.password_hash if known else None)

    async def add_jwt_body(self, username: str) -> dict[str, Any]:
        person = self.people[username]
        return {"scope": " ".join(person.scopes), "roles": person.roles, **person.more}

    async def check_refresh(self, username: str) -> bool:
        return username in self.people and self.people[username].active


class CountingHasher(Argon2Hasher):
    """Argon2id, as cheap as it can be; counts what it does."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        self.verified += 1
        return super().verify(password, hash)


async def fill(
    manager: MainDatabaseManager, people: dict[str, Person], passwords: Passwords
) -> None:
    """One article and everybody's password, unless another service has put them there."""
    await manager.acreate_all()
    async with manager.asession() as session:
        if await session.scalar(select(ArticleRow.id)):
            return
        session.add(ArticleRow(id=1, title="The first"))
        for name in people:
            password_hash = await passwords.hash(f"{name} of the shop")
            session.add(PersonRow(name=name, password_hash=password_hash))
        await session.commit()


def routes(reached: list[str]) -> APIRouter:
    """What the service has beside its articles; endpoints that run note it in ``reached``."""
    router = APIRouter()

    @router.get(PROFILE)
    async def me(jwt: Annotated[dict[str, Any], Depends(jwt_auth)]) -> dict[str, Any]:
        reached.append(f"me of {jwt['sub']}")
        return jwt

    @router.get("/orders")
    async def orders(
        jwt: Annotated[dict[str, Any], Security(jwt_auth, scopes=["orders"])],
    ) -> dict[str, str]:
        reached.append(f"orders of {jwt['sub']}")
        return {"of": jwt["sub"]}

    @router.get("/reports", dependencies=[Depends(require_roles("admin"))])
    async def reports() -> list[str]:
        reached.append("reports")
        return []

    @router.websocket(SOCKET)
    async def live(socket: WebSocket, jwt: Annotated[dict[str, Any], Depends(jwt_auth)]) -> None:
        reached.append(f"live of {jwt['sub']}")
        await socket.accept()
        await socket.receive()

    warehouse = APIRouter(prefix="/warehouse", dependencies=[Depends(jwt_auth)])

    @warehouse.get("/stock")
    async def stock() -> list[str]:
        reached.append("stock")
        return []

    router.include_router(warehouse)
    return router


def article_routes() -> APIRouter:
    """A view set whose every route wants the scope ``articles``."""
    router = APIRouter()
    Articles().as_view(router, "/articles")
    return router


def partner_app(reached: list[str]) -> FastAPI:
    """An app to be mounted, guarded as a whole by what guards the app around it."""
    partners = FastAPI(dependencies=[Depends(jwt_auth)])

    @partners.get("/deals")
    async def deals() -> list[str]:
        reached.append("deals")
        return []

    return partners
