"""Who may come in: as little of it as the routes need."""

from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
KNOWN = {"token-of-alice": "alice", "token-of-bob": "bob"}


async def jwt_auth(token: str = Depends(oauth2_scheme)) -> dict:
    if token not in KNOWN:
        raise HTTPException(401, "Nobody has this token.")
    return {"sub": KNOWN[token]}
