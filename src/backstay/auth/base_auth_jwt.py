"""``BaseAuthJWT``: an app says who may log in, and gets the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import MethodType
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

from fastapi import FastAPI

from backstay.auth.auth_part import AuthPart
from backstay.auth.auth_throttle import LoginThrottle
from backstay.auth.keyring import Keyring
from backstay.auth.token import AnyTokenVerifier
from backstay.auth.token_routes import document_token_url, key_routes, token_routes
from backstay.errors import AlreadyInstalled, BadAuth, MissingExtra
from backstay.web.installation import install

__all__ = ["BaseAuthJWT"]

P = ParamSpec("P")
R = TypeVar("R")


class _OfBoth(Generic[P, R]):
    """A method of a class and of its instances: its first argument is whichever it is called on."""

    def __init__(self, function: Callable[Concatenate[Any, P], R]) -> None:
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __get__(self, instance: object | None, owner: type) -> Callable[P, R]:
        return MethodType(self.__wrapped__, owner if instance is None else instance)


class BaseAuthJWT:
    """Who may log in, and on which terms. ``mount_auth(app)`` switches it on. ::

        class AuthJWT(BaseAuthJWT):
            async def check_auth(username: str, password: str) -> bool:
                return await passwords.verify(password, await hash_of(username))

            async def add_jwt_body(username: str) -> dict:
                return {"scope": "orders", "roles": ["admin"]}

        AuthJWT.mount_auth(app)

    A class below it has these methods, each async, or sync and then run in a thread; each with or
    without ``self``, static, or of the class:

    - ``check_auth(username, password) -> bool``: whether that is the password. What is neither
      ``True`` nor ``False`` is a fault of the app, a 500, and lets nobody in.
    - ``add_jwt_body(username) -> dict``, optional: what the access tokens say beside what they all
      do. ``scope`` (a text or a list) is what they allow, ``roles`` a list of texts.
    - ``check_refresh(username) -> bool``, optional: whether the user may still have tokens without
      the password. Asked at every refresh; ``False`` ends the session.

    Attributes:
        ALGORITHM: HS256, HS384 or HS512, of the secret key. Not used with ``KEYS``.
        ACCESS_TOKEN_EXPIRE_MINUTES: how long an access token counts.
        REFRESH_TOKENS: whether there are refresh tokens.
        REFRESH_TOKEN_EXPIRE_DAYS: how long a refresh token may be exchanged for the next one.
        REFRESH_REUSE_SECONDS: seconds after its exchange within which it may be exchanged once
            more, for clients that lose answers. 0: never.
        ISSUER: who the tokens say has made them (``iss``). ``None``: ``"backstay"``. Services that
            have the same secret key need different ones.
        AUDIENCE: whom they say they are for (``aud``), one name or several. ``None``: the issuer.
        LEEWAY_SECONDS: by how many seconds the clocks of two machines may differ.
        KEYS: private keys that sign instead of a secret key. ``None``: the secret key.
        TRUSTED_ISSUERS: verifiers of other issuers' tokens, which count here as well. Their
            subjects, scopes and roles are believed as if they were this service's own.
        REVOCATION_DELAY_SECONDS: seconds after which what was revoked on one machine does not
            count on the others.
        STORE_PATIENCE_SECONDS: seconds that the store may take for each answer. Then it is asked no
            longer, and the client gets a 503. What it was asked to write is written whole or not at
            all; if a refresh token was exchanged in the very moment in which nobody waited any
            more, the client still has the old one, whose next use ends the session, with a line in
            the log.
    """

    ALGORITHM: ClassVar[str] = "HS256"
    ACCESS_TOKEN_EXPIRE_MINUTES: ClassVar[float] = 30
    REFRESH_TOKENS: ClassVar[bool] = True
    REFRESH_TOKEN_EXPIRE_DAYS: ClassVar[float] = 30
    REFRESH_REUSE_SECONDS: ClassVar[float] = 0
    ISSUER: ClassVar[str | None] = None
    AUDIENCE: ClassVar[str | Collection[str] | None] = None
    LEEWAY_SECONDS: ClassVar[float] = 10
    KEYS: ClassVar[Keyring | None] = None
    TRUSTED_ISSUERS: ClassVar[Sequence[AnyTokenVerifier]] = ()
    REVOCATION_DELAY_SECONDS: ClassVar[float] = 1.0
    STORE_PATIENCE_SECONDS: ClassVar[float] = 2.0

    @_OfBoth
    def mount_auth(
        self,
        app: FastAPI,
        *,
        secret_key: Any = None,
        store: Any = None,
        prefix: str = "",
        tags: Sequence[str] = ("auth",),
        client_limits: LoginThrottle | bool = True,
    ) -> AuthPart:
        """Guard an app: ``/token`` and its company, ``jwt_auth``, ``ctx.user``, ``ctx.auth``.

        Called on the class, or on an instance whose methods want ``self``. The app's own code and
        tests find what this returns as ``app.state.auth_jwt``.

        Args:
            app: the FastAPI app you serve.
            secret_key: signs the tokens: 32 bytes at least. Several, as a list or with commas:
                the first signs, all verify. ``None``: ``app.state.SECRET_KEY``, which
                ``base_pattern`` sets, before this or after it, else the setting
                ``BACKSTAY_SECRET_KEY``.
            store: remembers sessions, revocations and API keys: a ``MainDatabaseManager``, a
                ``Database``, its URL, or an ``AuthStore``. ``None``: the app's database if it has
                one, else the memory of this process.
            prefix: in front of the routes' paths, such as ``"/auth"``. The public keys are always
                at ``/.well-known/jwks.json``.
            tags: of the routes in the OpenAPI document.
            client_limits: how many wrong passwords somebody may try; ``True`` for the usual
                numbers, ``False`` for any. Processes count them together if ``add_limits`` says
                that the app's limits are in a database or Redis, else each for itself.

        Returns:
            The part.

        Raises:
            BadAuth: something of that could never work, or not safely. That there is no secret
                key, or a weak one outside debug mode, is said when the app starts.
            AlreadyInstalled: the app is guarded already.
            MissingExtra: python-multipart is not installed.
        """
        if not isinstance(app, FastAPI):
            raise BadAuth(f"mount_auth needs a FastAPI app, got a {type(app).__qualname__}")
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise BadAuth(f'prefix={prefix!r} begins with a slash and ends without: "/auth"')
        if not isinstance(client_limits, bool | LoginThrottle):
            # None and 0 read like "none given", and would take the brake off guessing.
            raise BadAuth(
                "client_limits= is True, False or a LoginThrottle(...); got "
                f"{client_limits!r:.80} of type {type(client_limits).__qualname__}"
            )
        backstay = install(app)
        if getattr(app.state, "auth_jwt", None) is not None:
            raise AlreadyInstalled("mount_auth was called for this app already; call it once")
        try:
            import python_multipart  # noqa: F401  # what FastAPI reads forms with
        except ImportError as missing:
            raise MissingExtra("auth", "python_multipart") from missing
        throttle = client_limits
        if throttle is True:
            throttle = LoginThrottle(clock=backstay.clock)
        part = AuthPart(
            app,
            backstay,
            self,
            secret_key=secret_key,
            store=store,
            throttle=throttle or None,
        )
        backstay.add(part)
        app.state.auth_jwt = part
        if backstay.verifier is None:
            backstay.verifier = part
        app.include_router(token_routes(part, prefix=prefix, tags=tags))
        if prefix:
            document_token_url(app, f"{prefix.strip('/')}/token")
        if self.KEYS is not None and self.KEYS.has_public_keys:
            app.include_router(key_routes(part, tags=tags))
        return part
