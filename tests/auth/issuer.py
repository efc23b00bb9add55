"""A real issuer on a free port: it signs tokens, publishes keys, counts requests and misbehaves."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
from collections.abc import Mapping
from typing import Any, Self

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from backstay.auth import JWTVerifier
from backstay.testing import FakeClock

__all__ = [
    "AUDIENCE",
    "METADATA",
    "OPENID",
    "Issuer",
    "Key",
    "answer",
    "encode",
    "key_of",
    "sign",
    "verifier_of",
]

AUDIENCE = "https://shop.example.com/mcp"
METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"

Key = RSAKey | ECKey | OKPKey | OctKey


def key_of(kind: str = "P-256", number: int = 0) -> Key:
    """A key pair, made once for all tests: ``number`` tells several of a kind apart."""
    return _make_key(kind, number)


@functools.cache
def _make_key(kind: str, number: int) -> Key:
    if kind.startswith("RSA"):
        return RSAKey.generate_key(int(kind[3:] or 2048))
    if kind.startswith("P-"):
        return ECKey.generate_key(kind)
    return OKPKey.generate_key(kind)  # type: ignore[arg-type]  # one of its names


def encode(part: bytes | Mapping[str, Any]) -> str:
    """A part of a token, as it is written there."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: Mapping[str, Any], payload: bytes | Mapping[str, Any], key: Key) -> str:
    """A token with any header and any payload, signed as its header says."""
    signing_input = f"{encode(header)}.{encode(payload)}"
    algorithm = JWSRegistry.algorithms[header["alg"]]
    return f"{signing_input}.{encode(algorithm.sign(signing_input.encode(), key))}"


def answer(
    body: bytes | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(data)}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


class Issuer:
    """An issuer for one test: ``async with Issuer() as issuer``.

    Args:
        clock: says when tokens are made.
        path: of its URL.
    """

    def __init__(self, clock: FakeClock | None = None, path: str = "") -> None:
        self.clock = clock or FakeClock()
        self.path = path
        self.requests: list[str] = []
        self.headers: dict[str, str] = {}
        self.keys: dict[str, Key] = {"one": key_of()}
        self.answers: dict[str, bytes | Mapping[str, Any]] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{self.path}"
        self.origin = f"http://127.0.0.1:{self.port}"
        self.answers[METADATA + self.path] = {"issuer": self.url, "jwks_uri": self.jwks_uri}
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open.set()
        self.server.close()
        await self.server.wait_closed()

    @property
    def jwks_uri(self) -> str:
        return f"{self.origin}/keys"

    @property
    def key_requests(self) -> int:
        return self.requests.count("/keys")

    def key_set(self) -> dict[str, Any]:
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": kid, "use": "sig"}
                for kid, key in self.keys.items()
            ]
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token; ``None`` leaves one out."""
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "exp": now + 600,
            "iat": now,
            "scope": "orders photos",
            "client_id": "chat",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, kid: str | None = "one", alg: str = "ES256", **changes: Any) -> str:
        """A good token, but for the changes to its claims."""
        header = {"alg": alg, "typ": "at+jwt"} | ({} if kid is None else {"kid": kid})
        return sign(header, self.claims(**changes), self.keys[kid or "one"])

    async def stop(self) -> None:
        """Go down: nobody listens any more."""
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            self.requests.append(path)
            self.asked.set()
            await self.open.wait()
            found = self.answers.get(path)
            if found is None and path == "/keys":
                found = answer(self.key_set(), headers=self.headers)
            elif found is None:
                found = answer({"error": "not found"}, 404)
            writer.write(found if isinstance(found, bytes) else answer(found))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # whoever asked has hung up
        finally:
            writer.close()


def verifier_of(issuer: Issuer, **options: Any) -> JWTVerifier:
    """A verifier for that issuer with the issuer's clock."""
    return JWTVerifier(issuer.url, **{"audience": AUDIENCE, "clock": issuer.clock, **options})
