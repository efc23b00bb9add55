"""Who shares with whom: by the app, by hand, by names that are the same everywhere."""

import logging
import subprocess
import sys
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.app import Backstay
from backstay.context import Context
from backstay.errors import BadIntegration, ThrottlingError
from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.shared import SharedStates
from backstay.integration.stability.shared.memory_store import MemoryStore
from backstay.integration.stability.shared.sharing import Sharing, read_sharing
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test


class Owner:
    def __init__(self, name: str = "pay.example") -> None:
        self.name = name


async def ask() -> int:
    return 1


async def tell() -> int:
    return 2


def name(
    pattern: str = "CircuitBreaker",
    func: Any = ask,
    *,
    key: Any = None,
    has_key: bool = False,
    outgoing: OutgoingCall | None = None,
    first: Any = None,
) -> bytes:
    sharing = Sharing(pattern, None)
    sharing.check(func if first is None else first)
    return sharing.name(func, outgoing, key, has_key=has_key)


def test_what_is_not_to_be_shared_is_not() -> None:
    assert read_sharing(None, "X") is None
    assert read_sharing(False, "X") is None
    with pytest.raises(BadIntegration, match=r"Throttling\(shared=\) is True .* got str"):
        sp.Throttling(shared="redis://host")  # type: ignore[arg-type]  # as a user does
    with pytest.raises(BadIntegration, match=r"CircuitBreaker\(shared=\)"):
        sp.CircuitBreaker(shared=1)  # type: ignore[arg-type]  # as above


def test_functions_that_are_not_async_share_nothing() -> None:
    for pattern in (sp.CircuitBreaker(shared=True), sp.Throttling(shared=True)):
        with pytest.raises(BadIntegration, match="async"):
            pattern(lambda: 1)


def test_names_tell_patterns_functions_endpoints_instances_and_keys_apart() -> None:
    call = OutgoingCall(Owner(), "pay.charge", "POST")
    elsewhere = OutgoingCall(Owner("test.pay.example"), "pay.charge", "POST")
    other = OutgoingCall(Owner(), "pay.refund", "POST")
    inside = sp.CircuitBreaker()(ask)
    names = [
        name(),
        name("Throttling"),
        name(func=tell),
        name(func=inside),  # another one further inside
        name(outgoing=call),
        name(outgoing=elsewhere),
        name(outgoing=other),
        name(has_key=True),
        name(has_key=True, key="a"),
        name(has_key=True, key=1),
        name(has_key=True, key="1"),
        name(has_key=True, key=("a", 1)),
    ]
    assert len(set(names)) == len(names)
    assert {len(each) for each in names} == {16}
    again = OutgoingCall(Owner(), "pay.charge", "POST")
    assert name(outgoing=again) == name(outgoing=call)


def test_functions_that_share_a_key_share_under_the_name_of_the_first() -> None:
    assert name(func=tell, first=ask, has_key=True, key="a") == name(has_key=True, key="a")
    assert name(func=tell, first=ask) == name(func=tell)


def test_a_key_that_is_another_one_in_each_process_is_refused() -> None:
    for key in (object(), ("a", object())):
        with pytest.raises(BadIntegration, match="return a str or a number"):
            name(has_key=True, key=key)


def test_names_are_the_same_in_every_process() -> None:
    program = (
        "from tests.integration.stability.shared.test_sharing import name\n"
        "print(name(has_key=True, key=('a', 1, None)).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {name(has_key=True, key=("a", 1, None)).hex()}


class Integrations:
    """As much of the part as is looked at."""

    attribute = "integrations"

    def __init__(self, shared_states: SharedStates | None) -> None:
        self.shared_states = shared_states

    def bind(self, ctx: Context) -> None:
        return None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass


@sp.Throttling(1, burst=2, shared=True)
async def throttled() -> int:
    return 1


def an_app(shared_states: SharedStates | None, clock: FakeClock) -> FastAPI:
    app = FastAPI()
    backstay: Backstay = install(app, clock=clock)
    backstay.add(Integrations(shared_states))

    @app.get("/")
    async def index() -> int:
        return await throttled()

    return app


@async_test
async def test_true_is_what_the_app_of_the_running_work_shares() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    apps = [an_app(SharedStates(store, clock=clock), clock) for _ in range(2)]
    statuses = []
    for _ in range(2):
        for app in apps:
            async with running(app) as client:
                statuses.append((await client.get("/")).status_code)
    assert statuses == [200, 200, 503, 503]


@async_test
async def test_true_without_anything_to_share_is_one_warning_and_this_process_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "backstay.integration")

    @sp.Throttling(1, burst=2, shared=True, clock=FakeClock())
    async def limited() -> int:
        return 1

    assert [await limited() for _ in range(2)] == [1, 1]
    with pytest.raises(ThrottlingError):
        await limited()
    assert len(caplog.messages) == 1
    assert "add_integrations(app, ..., shared_state=)" in caplog.messages[0]


@async_test
async def test_an_instance_of_an_integration_may_say_with_whom() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    owners = [Owner(), Owner(), Owner("elsewhere.example")]
    for each in owners:
        each.shared_states = SharedStates(store, clock=clock)  # type: ignore[attr-defined]

    @sp.Throttling(1, burst=2, shared=True, clock=clock)
    async def limited() -> int:
        return 1

    ends = []
    for owner in owners * 2:
        token = current_call.set(OutgoingCall(owner, "pay.charge", "POST"))
        try:
            ends.append(await limited())
        except ThrottlingError:
            ends.append(0)
        finally:
            current_call.reset(token)
    assert ends == [1, 1, 1, 0, 0, 1]


@async_test
async def test_processes_share_by_key() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)

    def process() -> Any:
        per_host = sp.Throttling(
            1, key=lambda host: host, shared=SharedStates(store, clock=clock), clock=clock
        )

        @per_host
        async def read(host: str) -> int:
            return 1

        @per_host
        async def write(host: str) -> int:
            return 2

        return read, write

    (read, _), (_, write) = process(), process()
    assert await read("a") == 1
    assert await write("b") == 2
    with pytest.raises(ThrottlingError):
        await write("a")
