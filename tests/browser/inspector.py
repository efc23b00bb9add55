"""The command line of the official MCP Inspector: a client that nobody of ours has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.browser.bench import node_modules, run_node

__all__ = ["AppInfo", "Inspector", "InspectorError"]

LAUNCHER = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"


class InspectorError(Exception):
    """The Inspector has ended with an error.

    Attributes:
        status: its exit status; 2: no app, 6: schemas that not every model takes.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the Inspector ended with {status}: {said}")
        self.status = status


@dataclass(frozen=True)
class AppInfo:
    """What the Inspector finds out about a tool's widget.

    Attributes:
        resource_uri: None: the tool has no widget.
        mime_type: of the resource as it was read.
        csp: as the resource declares it, not the tool.
        raw: all that it has printed.
    """

    resource_uri: str | None
    mime_type: str | None
    csp: dict[str, Any] | None
    raw: dict[str, Any]


class Inspector:
    """Requests to one server, each by a process of its own (about half a second).

    Args:
        url: the server's endpoint.
        headers: for every request.
        modern: speak 2026-07-28 (no handshake); otherwise the handshake.
    """

    def __init__(
        self, url: str, *, headers: Mapping[str, str] | None = None, modern: bool = False
    ) -> None:
        self._url = url
        self._options = ["--transport", "http"]
        for name, value in (headers or {}).items():
            self._options += ["--header", f"{name}: {value}"]
        if modern:
            self._options += ["--protocol-era", "modern"]

    def tools(self) -> dict[str, dict[str, Any]]:
        """The tools by name, as the wire has them."""
        found = self.request("tools/list")
        return {tool["name"]: tool for tool in found["tools"]}

    def call(self, tool: str, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Call a tool; the result, also one with ``isError``."""
        pairs = [f"{name}={_argument(value)}" for name, value in arguments.items()]
        return self.request(
            "tools/call", "--tool-name", tool, *(["--tool-arg", *pairs] if pairs else [])
        )

    def read(self, uri: str) -> dict[str, Any]:
        """Read a resource that has one content; that content."""
        contents = self.request("resources/read", "--uri", uri)["contents"]
        assert len(contents) == 1, contents
        found: dict[str, Any] = contents[0]
        return found

    def app_info(self, tool: str) -> AppInfo:
        """What a tool's widget is, without calling the tool."""
        status, said, _ = self._run("tools/call", "--tool-name", tool, "--app-info")
        if status not in {0, 2}:
            raise InspectorError(status, said)
        found = json.loads(said)
        return AppInfo(
            found.get("resourceUri"), found.get("resourceMimeType"), found.get("csp"), found
        )

    def check_schemas(self) -> str:
        """What it says about the portability of the tools' schemas; empty: nothing.

        Raises:
            InspectorError: some model will refuse one (status 6).
        """
        status, _, complaints = self._run("tools/list", "--strict")
        if status:
            raise InspectorError(status, complaints)
        return complaints

    def request(self, method: str, *options: str) -> dict[str, Any]:
        """Any method that its command line knows; the result.

        Raises:
            InspectorError: the server has answered with an error, or not at all.
        """
        status, said, complaints = self._run(method, *options, "--format", "json")
        # A result with isError is a result, though the exit status is not 0.
        if said.startswith("{"):
            answer: dict[str, Any] = json.loads(said)
            if "result" in answer:
                found: dict[str, Any] = answer["result"]
                return found
        raise InspectorError(status, complaints or said)

    def _run(self, method: str, *options: str) -> tuple[int, str, str]:
        done = run_node(
            node_modules() / LAUNCHER,
            "--cli",
            self._url,
            *self._options,
            "--method",
            method,
            *options,
        )
        return done.returncode, done.stdout.strip(), done.stderr.strip()


def _argument(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
