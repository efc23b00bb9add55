"""Guarding as a part of an app: keys, sessions and their store, made when the app starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextvars import Context as Variables
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from backstay.app import Backstay
from backstay.appstate import DATABASE_MANAGER, DEBUG, SECRET_KEY
from backstay.auth.api_keys import ApiKeys
from backstay.auth.audit import Audit, AuditEvent
from backstay.auth.auth_throttle import LoginThrottle
from backstay.auth.credentials import challenge, read_credentials
from backstay.auth.hooks import Hooks
from backstay.auth.keyring import Keyring
from backstay.auth.local_verifier import LocalVerifier
from backstay.auth.login_check import LoginCheck
from backstay.auth.patient_store import PatientStore
from backstay.auth.port import AuthStore
from backstay.auth.revocation import Revocations
from backstay.auth.sessions import Grant, Sessions
from backstay.auth.stores import open_store
from backstay.auth.token import VerifiedToken
from backstay.auth.token_guard import Identity, TokenGuard
from backstay.auth.token_issuer import TokenIssuer
from backstay.auth.token_policy import TokenPolicy, read_policy
from backstay.auth.upkeep import Upkeep
from backstay.context import Context, User
from backstay.errors import BadAuth, NotAuthenticated, TokensUncheckable

__all__ = ["AuthPart"]

_logger = logging.getLogger("backstay.auth")

_API_KEY_PREFIX = "bsk"
_WRITING_S = 60.0
"""Seconds within which a revocation that is being written is written, or will not be."""
_SCOPE_KEY = "backstay.identity"
"""Where the ASGI scope remembers, for this one request, who sends it."""


@dataclass(frozen=True, slots=True)
class _Made:
    keyring: Keyring
    store: AuthStore
    api_keys: ApiKeys
    sessions: Sessions
    guard: TokenGuard
    upkeep: Upkeep


class AuthPart:
    """What ``BaseAuthJWT.mount_auth(app)`` switches on, and ``ctx.auth``.

    It is the app's user verifier (``ctx.user``), and a token verifier that other doors take
    (``WidgetMCPServer(token_verifier=...)``).

    Attributes:
        policy: the terms on which tokens are given away.
        audit: hears of logins, refusals and revocations; ``audit.add_sink(...)`` tells others.
        open_endpoints: the endpoints for those who have no token yet; ``jwt_auth`` lets pass.
    """

    attribute = "auth"

    def __init__(
        self,
        app: Starlette,
        backstay: Backstay,
        declared: Any,
        *,
        secret_key: Any = None,
        store: Any = None,
        throttle: LoginThrottle | None = None,
    ) -> None:
        self._app = app
        self._clock = backstay.clock
        self._backstay = backstay
        self.policy: TokenPolicy = read_policy(declared)
        self._hooks = Hooks(declared)
        if self.policy.keys is not None and secret_key is not None:
            raise BadAuth(
                "there is a secret_key= and there are KEYS; tokens are signed by one of them"
            )
        self._secret_key = secret_key
        self._asked_for = store
        self._throttle = throttle
        self.audit = Audit(clock=self._clock)
        self.open_endpoints: set[Callable[..., Any]] = set()
        self._is_open = False
        self._tells_events = False
        self._opening: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ for the app's own code

    @property
    def api_keys(self) -> ApiKeys:
        """Makes, lists and revokes API keys."""
        return self._made.api_keys

    @property
    def keyring(self) -> Keyring:
        """The keys that sign tokens."""
        return self._made.keyring

    @property
    def sessions(self) -> Sessions:
        """Logins, and how they end."""
        return self._made.sessions

    async def issue(self, subject: str, *, scopes: Collection[str] = ()) -> Grant:
        """Tokens for a user whom the app knows otherwise: by another service's login, in a test.

        Args:
            subject: whose they are.
            scopes: those asked for. Empty: all that ``add_jwt_body`` says the user may have.

        Raises:
            TokensUncheckable: the store is out of reach.
            BadAuth: ``add_jwt_body`` answers what it must not.
        """
        await self.awake()
        return await self._made.sessions.begin(subject, scopes=scopes)

    async def end_sessions(self, subject: str) -> int:
        """Log a subject out everywhere: after a change of the password, or at its end.

        Returns:
            How many sessions there were.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        await self.awake()
        return await self._made.sessions.end_all(subject)

    async def prune(self) -> int:
        """Have the store forget what has ended. Returns how many records that were.

        The app does so every ten minutes, at each of its processes.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        await self.awake()
        return await self._made.store.prune(now=self._clock.now())

    async def verify_token(self, token: str) -> VerifiedToken | None:
        """What a token or an API key says, ``None`` if it is not good (a ``TokenVerifier``).

        Raises:
            TokensUncheckable: nobody can say at the moment.
        """
        await self.awake()
        found = await self._made.guard.identify(token)
        return None if found is None else found.token

    async def verify_own(self, token: str) -> VerifiedToken | None:
        """What an access token of this service says, ``None`` if it is not good.

        Raises:
            TokensUncheckable: nobody can say at the moment.
        """
        await self.awake()
        return await self._made.guard.verify_own(token)

    def jwks(self) -> dict[str, Any]:
        """The JWK Set of the keys that others may check tokens with."""
        return self.keyring.jwks(self._clock.now())

    # ------------------------------------------------------------------ for requests

    async def identify(self, connection: HTTPConnection) -> Identity | None:
        """Who sends a request, ``None`` if nothing was shown. Asked once for each request.

        Raises:
            NotAuthenticated: what was shown is not good.
            TokensUncheckable: nobody can say at the moment.
        """
        known = connection.scope.get(_SCOPE_KEY)
        if known is not None and known[0] is self:
            found: Identity = known[1]
            return found
        shown = read_credentials(connection)
        if shown is None:
            return None
        await self.awake()
        identity = await self._made.guard.identify(shown.value, api_key_only=shown.is_api_key)
        if identity is None:
            detail = "The credentials are not valid, or not any more."
            raise NotAuthenticated(detail, challenge=challenge("invalid_token", detail))
        connection.scope[_SCOPE_KEY] = (self, identity)
        return identity

    async def verify(self, connection: HTTPConnection) -> User | None:
        """The user for ``ctx.user`` (a ``UserVerifier``); nobody at the ``open_endpoints``.

        Raises:
            NotAuthenticated: what was shown is not good.
            TokensUncheckable: nobody can say at the moment.
        """
        if connection.scope.get("endpoint") in self.open_endpoints:
            # Clients show there what has ended, on the way to get what has not.
            return None
        identity = await self.identify(connection)
        if identity is None:
            return None
        token = identity.token
        return User(token.subject, scopes=token.scopes, claims=token.claims)

    # ------------------------------------------------------------------ as a part

    def bind(self, ctx: Context) -> AuthPart:
        """``ctx.auth``: the same for all pieces of work."""
        return self

    async def open(self) -> None:
        """Read the keys and open the store.

        Raises:
            BadAuth: there is no secret key, or a weak one.
            TokensUncheckable: the store cannot be opened.
        """
        # Not at the first login only: perhaps no key signs.
        self._made.keyring.signing_key(self._clock.now())
        # However long it takes: nobody is served before.
        await asyncio.shield(self._start_opening())
        self._made.upkeep.start()

    async def close(self) -> None:
        """Close the store, and stop fetching others' keys."""
        if self._is_open:
            self._is_open = False
            await self._made.upkeep.close()
            await self._made.store.close()
        for verifier in self.policy.trusted:
            close = getattr(verifier, "close", None)
            if close is not None:
                await close()

    async def awake(self) -> None:
        """Open the store, if nobody has: where no server runs the app's lifespan, as in some tests.

        Raises:
            BadAuth, TokensUncheckable: as ``open``.
        """
        if self._is_open:
            return
        opening = self._start_opening()
        done, _ = await asyncio.wait({opening}, timeout=self.policy.store_patience_s)
        if not done:
            raise TokensUncheckable("the store of sessions and keys takes long to open")
        opening.result()

    def _start_opening(self) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        opening = self._opening
        if opening is None or opening.done() or opening.get_loop() is not loop:
            # In a task of its own: whoever asks first may be cancelled, and others wait.
            opening = self._opening = loop.create_task(self._open(), context=Variables())
        return opening

    async def _open(self) -> None:
        if self._is_open:
            return
        await self._made.store.open()
        self._share_failures()
        if not self._tells_events and self._backstay.has("events"):
            self._tells_events = True
            self.audit.add_sink(self._keep_event)
        self._is_open = True

    def _share_failures(self) -> None:
        """Failed logins are counted with other processes if the app's limits are."""
        if self._throttle is None or not self._backstay.has("limits"):
            return
        # Here: who limits nothing need not have what counts.
        from backstay.limits.app_limits import limits_of
        from backstay.limits.failure_counts import FailureCounts

        limiter = limits_of(self._backstay).limiter
        if not limiter.store.is_local:
            # In services that share a store, one name may be the accounts of two people.
            self._throttle.count_with(FailureCounts(limiter, f"logins of {self.policy.issuer}"))

    def _keep_event(self, event: AuditEvent) -> None:
        """Audit events are among what the app's events tell."""
        # Not by its class: who keeps no events need not have what keeps them installed.
        part: Any = self._backstay.part("events")
        told = {"subject": event.subject, "client": event.client, "detail": event.detail}
        part.events.note(
            "audit",
            event.name,
            outcome="failed" if event.is_warning else "ok",
            facts={name: value for name, value in told.items() if value},
            correlation_id=event.correlation_id,
        )

    @cached_property
    def _made(self) -> _Made:
        """Made when first needed: what wires the app may come after ``mount_auth``."""
        clock, policy = self._clock, self.policy
        keyring = self._keyring_of_secret() if policy.keys is None else policy.keys
        store = PatientStore(open_store(self._place()), patience_s=policy.store_patience_s)
        api_keys = ApiKeys(store, prefix=_API_KEY_PREFIX, clock=clock, audit=self.audit)
        revocations = Revocations(
            store,
            clock,
            delay_s=policy.revocation_delay_s,
            overlap_s=policy.leeway_s + _WRITING_S,
        )
        return _Made(
            keyring,
            store,
            api_keys,
            Sessions(
                store,
                login_check=LoginCheck(self._hooks, throttle=self._throttle, audit=self.audit),
                hooks=self._hooks,
                issuer=TokenIssuer(keyring, policy),
                revocations=revocations,
                policy=policy,
                clock=clock,
                audit=self.audit,
            ),
            TokenGuard(
                LocalVerifier(keyring, policy, clock),
                revocations=revocations,
                api_keys=api_keys,
                api_key_start=f"{_API_KEY_PREFIX}_",
                trusted=policy.trusted,
                clock=clock,
            ),
            Upkeep(store, clock),
        )

    def _keyring_of_secret(self) -> Keyring:
        secret = SECRET_KEY(self._app) if self._secret_key is None else self._secret_key
        if secret is None:
            secret = self._backstay.settings.get("BACKSTAY_SECRET_KEY")
        if secret is None:
            raise BadAuth(
                "there is no secret key to sign tokens with: give one to mount_auth(app, "
                "secret_key=...) or to base_pattern(app, secret_key=...), write it into the setting "
                "BACKSTAY_SECRET_KEY, or set KEYS to a Keyring"
            )
        return Keyring.from_secrets(
            secret, algorithm=self.policy.algorithm, debug=bool(DEBUG(self._app))
        )

    def _place(self) -> Any:
        """Where sessions are remembered: what was said, else the app's database, else memory."""
        if self._asked_for is not None:
            return self._asked_for
        manager = DATABASE_MANAGER(self._app)
        if manager is None and self._backstay.has("db"):
            manager = getattr(self._backstay.part("db"), "database", None)
        if manager is None:
            _logger.warning(
                "sessions, revocations and API keys are kept in the memory of this process, and "
                "other processes know nothing of them; give mount_auth(app, store=...) a database"
            )
        return manager

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.policy.issuer}>"
