"""Tasks whose dependencies are named by strings, partly before they are there."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from backstay.context import Context
from backstay.jobs.injection import Injection


def get_mailer() -> Mailer:
    return Mailer()


async def send(
    order_id: int,
    ctx: Context,
    mailer: Annotated[Mailer, Depends(get_mailer)],
    printer: later.Printer = Depends(get_mailer),  # noqa: F821
) -> None: ...


def send_later(post: Post) -> None: ...


EARLY = Injection(send)


class Mailer:
    pass


Post = Annotated[Mailer, Depends(get_mailer)]
