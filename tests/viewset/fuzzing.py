"""A running app is asked what its OpenAPI offers, and much that it does not, by schemathesis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import requests
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    ensure_resource_availability,
    positive_data_acceptance,
    use_after_free,
)

from backstay.testing import RunningApp

__all__ = ["Asked", "asked"]

_BASE = "http://testserver"

_NOT_FOR_US = [
    # Values that another item has, ids that nobody has and filters whose operand is not of the
    # column's range are refused, and a JSON Schema cannot say so.
    positive_data_acceptance,
    # These two compare answers of several requests, which stand beside each other here.
    use_after_free,
    ensure_resource_availability,
]


@dataclass(frozen=True)
class Asked:
    """An app that is running in an event loop of its own."""

    schema: schemathesis.BaseSchema
    client: RunningApp
    portal: BlockingPortal

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask a question of one's own; ``options`` as httpx has them."""
        return self.portal.call(lambda: self.client.request(method, path, **options))

    def send(self, case: Case) -> httpx.Response:
        """Ask one question, byte for byte as a client would that uses the library requests."""
        prepared = requests.Request(**case.as_transport_kwargs(base_url=_BASE)).prepare()
        assume(len(str(prepared.url)) < 60_000)  # longer ones httpx does not send
        request = self.client.build_request(
            str(prepared.method),
            str(prepared.url),
            headers=[(_latin(name), _latin(value)) for name, value in prepared.headers.items()],
            content=prepared.body,
        )
        return self.portal.call(self.client.send, request)

    def fuzz(
        self,
        operation: Any,
        *,
        examples: int,
        check: Callable[[Case, httpx.Response], object] = lambda case, answer: None,
        **fixed: Any,
    ) -> None:
        """Ask questions of one operation, good ones and bad ones; all answers are as documented.

        Args:
            operation: of ``schema``.
            examples: how many questions.
            check: is shown all of them with their answers.
            fixed: for ``as_strategy``: ``path_parameters`` and the like, which are not made up.
        """

        @seed(20260101)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # what failed once is seen as it was; shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(case=_cases(operation, fixed))
        def ask(case: Case) -> None:
            answer = self.send(case)
            assert b"Traceback" not in answer.content
            case.validate_response(answer, excluded_checks=_NOT_FOR_US)
            check(case, answer)

        ask()


@contextmanager
def asked(
    serving: Callable[[], AbstractAsyncContextManager[RunningApp]], openapi: dict[str, Any]
) -> Iterator[Asked]:
    """The app that ``serving`` serves, to be asked from this thread."""
    schema = schemathesis.openapi.from_dict(openapi)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving()) as client,
    ):
        yield Asked(schema, client, portal)


def _cases(operation: Any, fixed: dict[str, Any]) -> st.SearchStrategy[Case]:
    good = operation.as_strategy(GenerationMode.POSITIVE, **fixed)
    if not (operation.body or operation.query or operation.path_parameters):
        return good  # there is nothing that could be wrong
    return st.one_of(good, operation.as_strategy(GenerationMode.NEGATIVE, **fixed))


def _latin(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
