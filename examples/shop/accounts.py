"""Who may log in, and what that allows.

Nobody has proven that an address is theirs by signing up with it, so what was ordered with that
address before is not the account's: orders have an ``owner``, who was logged in when they were placed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from backstay import Context
from backstay.auth import BaseAuthJWT, Passwords
from backstay.db import MainDatabaseManager
from backstay.limits import rate_limit
from backstay.tasks import Unique, task
from backstay.web import Ctx
from examples.shop.identity import ADMIN
from examples.shop.integrations import Mail
from examples.shop.models import NewAccount, Role, SignedUp
from examples.shop.patience import PATIENTLY, waiting_for
from examples.shop.premises import CurrentShop, Session
from examples.shop.store import AccountRow, reading

__all__ = ["Accounts", "AdminUnfit", "ShopAuth", "router"]

SHORTEST_PASSWORD = 12

SCOPES: dict[Role, str] = {
    "customer": "orders:read orders:write",
    "admin": "orders:read orders:write customers",
}
"""What tokens allow. A client may ask for less, say to show orders and place none."""


class AdminUnfit(Exception):
    """The settings name an admin who must not become one."""


class Accounts:
    """The accounts and their passwords.

    Args:
        manager: of the database that they are in.
        passwords: hashes and checks. ``None``: Argon2id, in as many threads as there are cores.
    """

    def __init__(self, manager: MainDatabaseManager, passwords: Passwords | None = None) -> None:
        self._manager = manager
        self._passwords = Passwords() if passwords is None else passwords

    async def hash(self, password: str) -> str:
        """What to keep of a password. Takes some hundred milliseconds: not in a transaction."""
        return await self._passwords.hash(password)

    async def knows(self, email: str, password: str) -> bool:
        """Whether that is the account's password; as slow for an address that has no account."""
        known = await self._value(AccountRow.password_hash, email)
        good, better = await self._passwords.verify_and_update(password, known)
        if better is not None:
            # Hashes are made in a better way now. Unless the password was changed meanwhile.
            await self._write_hash(email, better, before=known)
        return good

    async def role(self, email: str) -> Role | None:
        """What the account is, ``None`` if there is none."""
        role: Role | None = await self._value(AccountRow.role, email)
        return role

    async def keep_admin(self, email: str, password: str) -> bool:
        """See to it that the admin of the settings is there, with the password of the settings.

        Returns:
            Whether the password was another one before, so that sessions begun with it must end.

        Raises:
            AdminUnfit: the address is a customer's, or the password is too short.
        """
        if len(password) < SHORTEST_PASSWORD:
            raise AdminUnfit(
                f"ADMIN_PASSWORD has {len(password)} characters; {SHORTEST_PASSWORD} are needed"
            )
        email = email.lower()
        if await self.role(email) is None:
            hashed = await self.hash(password)
            async with self._manager.asession() as session, session.begin():
                await add_account(session, email, hashed, ADMIN)
        if await self.role(email) != ADMIN:
            # Somebody has signed up with it, who knows the password and may be logged in.
            raise AdminUnfit(
                f"ADMIN_EMAIL={email!r} has an account as a customer already; choose another "
                "address for the admin"
            )
        if await self.knows(email, password):
            return False
        await self._write_hash(email, await self.hash(password))
        return True

    async def _value(self, column: Any, email: str) -> Any:
        async with reading(self._manager.database) as session:
            return await session.scalar(select(column).where(AccountRow.email == email))

    async def _write_hash(self, email: str, new: str, *, before: str | None = None) -> None:
        statement = update(AccountRow).where(AccountRow.email == email).values(password_hash=new)
        if before is not None:
            statement = statement.where(AccountRow.password_hash == before)
        async with self._manager.asession() as session, session.begin():
            await session.execute(statement)


class ShopAuth(BaseAuthJWT):
    """Logs accounts in, by address and password.

    Addresses are in lower case here, and another spelling is no account's: it would be the subject
    of tokens that nobody's ``/logout/everywhere`` ends.
    """

    ISSUER = "tea-shop"

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def check_auth(self, username: str, password: str) -> bool:
        """Whether that is the account's password."""
        return await self._accounts.knows(username, password)

    async def check_refresh(self, username: str) -> bool:
        """Whether there is such an account still."""
        return await self._accounts.role(username) is not None

    async def add_jwt_body(self, username: str) -> dict[str, Any]:
        """The role, as it is now, and what it allows."""
        role = await self._accounts.role(username)
        return {} if role is None else {"roles": [role], "scope": SCOPES[role]}


async def add_account(session: AsyncSession, email: str, password_hash: str, role: Role) -> bool:
    """Add an account, unless there is one of that address. Returns whether there was none."""
    new = await session.scalar(
        insert_or(AccountRow)
        .values(email=email, password_hash=password_hash, role=role, since=datetime.now(UTC))
        .on_conflict_do_nothing()
        .returning(AccountRow.email)
    )
    return new is not None


# Nobody's mailbox is filled by whoever signs up with an address over and over.
ONCE_AN_HOUR = Unique(by=("email", "template"), period_s=3600)


@task(name="shop.account_mail", queue="mail", retry=PATIENTLY, unique=ONCE_AN_HOUR)
async def write_about_account(email: str, template: str, ctx: Context, shop: CurrentShop) -> str:
    """Say what came of a sign-up, to whoever reads that address."""
    mail = shop.partners.mail.with_options(idempotency_key=str(ctx.job.id))
    with waiting_for(mail, ctx):
        await mail.send(Mail.Schema.NewMessage(to=email, template=template))
    return "sent"


def get_accounts(connection: HTTPConnection) -> Accounts:
    """The shop's accounts. A dependency."""
    accounts: Accounts = connection.app.state.accounts
    return accounts


CurrentAccounts = Annotated[Accounts, Depends(get_accounts)]

# Closed: if nobody can count, it is not the moment to let anybody try.
SIGN_UPS = rate_limit("5/minute;30/hour", by="ip", name="sign-up", fail="closed")

router = APIRouter(prefix="/accounts", tags=["accounts"])


@router.post(
    "",
    status_code=201,
    summary="Sign up",
    response_description="You can log in at `/token`, if the address was free.",
    dependencies=[Depends(SIGN_UPS)],
)
async def sign_up(
    new: NewAccount, ctx: Ctx, accounts: CurrentAccounts, session: Session
) -> SignedUp:
    """The answer is the same, and takes as long, whether or not the address has an account: who has
    one is nobody's business. Whoever reads mail at that address is told which it was.
    """
    # Hashed in any case, and before the transaction: SQLite lets one write at a time.
    hashed = await accounts.hash(new.password.get_secret_value())
    is_new = await add_account(session, new.email, hashed, "customer")
    template = "welcome_to_your_account" if is_new else "you_have_an_account"
    ctx.tasks.durable.on(session).schedule(write_about_account, new.email, template)
    return SignedUp(email=new.email)
