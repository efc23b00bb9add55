"""The world around the recipes: servers that listen on 127.0.0.1 and remember what reached them."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message as Letter
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "AnswerLog",
    "Arrival",
    "Certificate",
    "MailServer",
    "RecordingServer",
    "Reply",
    "http_client",
    "in_turn",
    "mail_server",
    "make_certificate",
    "recording_server",
    "served",
    "url_of_nobody",
]

HOST = "127.0.0.1"


def http_client(base_url: str = "") -> httpx.AsyncClient:
    """A client for local servers: no proxies, and no certificates to load."""
    return httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False, timeout=10)


# ---------------------------------------------------------------------- the service itself


class _Server(uvicorn.Server):
    """uvicorn's server, which hears at once that it shall stop instead of ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stop.wait()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an app by uvicorn, here in the event loop; leaving waits as uvicorn's own stop does."""
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # No need to wait for the start: the socket listens, so early requests queue up in it.
        async with http_client(f"http://{HOST}:{port}") as client:
            yield client
    finally:
        server.stop.set()
        await serving


class AnswerLog:
    """Middleware that notes ``"answer out"`` when the last byte has been given to the server."""

    def __init__(self, app: ASGIApp, log: list[str]) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_note(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self.log.append("answer out")

        await self.app(scope, receive, send_and_note)


# ---------------------------------------------------------------------- third parties over HTTP


@dataclass(frozen=True)
class Arrival:
    """One request that reached a server."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Arrival], tuple[int, object] | Awaitable[tuple[int, object]]]
"""What a server says: a status code and something to send as JSON."""


class RecordingServer:
    """Takes every request, and says 200 ``{}`` unless told otherwise.

    Attributes:
        url: where it listens.
        arrivals: everything that came, in order.
        replies: what to say instead, by the beginning of the path; the first that fits counts.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.arrivals: list[Arrival] = []
        self.replies: dict[str, Reply] = {}
        self._came = asyncio.Condition()

    def at(self, path: str) -> list[Arrival]:
        """What came to ``path``."""
        return [each for each in self.arrivals if each.path == path]

    async def arrived(self, path: str, count: int = 1) -> list[Arrival]:
        """Wait until ``count`` requests have come to ``path``."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.at(path)) >= count)
        return self.at(path)

    def hold(self, path: str, content: object = None) -> asyncio.Event:
        """Let requests to ``path`` wait for their 200 until the event is set."""
        gate = asyncio.Event()

        async def wait(arrival: Arrival) -> tuple[int, object]:
            await gate.wait()
            return 200, {} if content is None else content

        self.replies[path] = wait
        return gate

    async def handle(self, request: web.Request) -> web.Response:
        arrival = Arrival(
            request.method, request.path, request.query, request.headers, await request.read()
        )
        self.arrivals.append(arrival)
        async with self._came:
            self._came.notify_all()
        for path, reply in self.replies.items():
            if request.path.startswith(path):
                said = reply(arrival)
                status, content = said if isinstance(said, tuple) else await said
                return web.json_response(content, status=status)
        return web.json_response({})


def in_turn(*statuses: int) -> Reply:
    """Say each status once, and the last one ever after."""
    left = list(statuses)

    def reply(arrival: Arrival) -> tuple[int, object]:
        return (left.pop(0) if len(left) > 1 else left[0]), {}

    return reply


@asynccontextmanager
async def recording_server() -> AsyncIterator[RecordingServer]:
    """A ``RecordingServer`` on a free port, in the running event loop."""
    listener = socket.create_server((HOST, 0))
    server = RecordingServer(f"http://{HOST}:{listener.getsockname()[1]}")
    app = web.Application(client_max_size=32 * 1024**2)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield server
    finally:
        await runner.cleanup()


@contextmanager
def url_of_nobody() -> Iterator[str]:
    """The URL of a port that is taken, so nobody else gets it, and refuses connections."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield f"http://{HOST}:{taken.getsockname()[1]}"


# ---------------------------------------------------------------------- e-mail


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1: PEM files."""

    certificate: Path
    key: Path


_OPENSSL = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = 127.0.0.1
[extensions]
subjectAltName = IP:127.0.0.1
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
subjectKeyIdentifier = hash
"""


def make_certificate(folder: Path) -> Certificate:
    """Have the ``openssl`` command make a certificate that every supported Python trusts."""
    config, made = folder / "openssl.cnf", Certificate(folder / "cert.pem", folder / "key.pem")
    config.write_text(_OPENSSL)
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-config", str(config)]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made


class MailServer:
    """Takes letters over STARTTLS from one account.

    Attributes:
        host, port: where it listens.
        login, password: of the account.
        ca_file: what its certificate is checked against.
        letters: what it was given, in order.
    """

    def __init__(self, certificate: Certificate) -> None:
        self.host = HOST
        self.login, self.password = "shop@example.com", "correct horse"
        self.ca_file = certificate.certificate
        self.letters: list[Letter] = []
        self.refused_logins = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self._controller = _Controller(
            self,
            hostname=HOST,
            port=0,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
        )

    @property
    def port(self) -> int:
        return self._controller.port

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        right = isinstance(given, LoginPassword) and (
            (given.login, given.password) == (self.login.encode(), self.password.encode())
        )
        if not right:
            self.refused_logins += 1
        return AuthResult(success=right, handled=False)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.letters.append(message_from_bytes(envelope.content))
        return "250 taken"


class _Controller(Controller):
    """aiosmtpd's controller, which cannot find out by itself what port 0 became."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd is not typed here


@contextmanager
def mail_server(certificate: Certificate) -> Iterator[MailServer]:
    """A ``MailServer`` on a free port, in a thread of its own."""
    server = MailServer(certificate)
    server.start()
    try:
        yield server
    finally:
        server.stop()
