"""What shows the time, refuses, and asks who is there."""

import pytz
from fastapi import APIRouter, Depends, Request

from backstay.auth import jwt_auth
from backstay.timezone import TIMEZONE, get_datetime_now
from backstay.web import HTTPException403
from tests.seeds.accelerator.core.config import ROOT

router = APIRouter(prefix=ROOT)


@router.get("/now")
async def now(request: Request) -> list[str]:
    # Option 4
    timezone = TIMEZONE() or TIMEZONE(request.app)
    return [
        # Option 1
        get_datetime_now(request.app.state.TIMEZONE).isoformat(timespec="minutes"),
        # Option 3
        get_datetime_now(pytz.timezone("Europe/Moscow")).isoformat(timespec="minutes"),
        get_datetime_now(timezone).isoformat(timespec="minutes"),
    ]


@router.get("/forbidden")
async def get_users():
    if True:
        raise HTTPException403()
    return [{"user_id": "user1"}, {"user_id": "user2"}]


@router.get("/protected", summary="Check JWT authentication")
async def protected_route(jwt: dict = Depends(jwt_auth)):
    return {"message": "This is a protected route", "user": jwt}
