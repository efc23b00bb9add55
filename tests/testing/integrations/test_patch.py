"""Mocks stand in, their results are read as real ones, and nothing else is called."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from backstay.errors import (
    BadAnswer,
    BadIntegration,
    CircuitBreakerError,
    UnmockedCall,
    UpstreamBusy,
    UpstreamError,
)
from backstay.integration import ApiHTTP, sp
from backstay.testing.integrations.answer import Answer, answers
from backstay.testing.integrations.patch import patch_integration
from backstay.testing.integrations.rules import MockRules
from tests.support import async_test
from tests.testing.integrations.bank import Bank

bank = Bank("http://bank.example/v1", credentials={"TOKEN": "t-1"})
CHARGE = {"id": 1, "sum": 5}


async def charge_mock(api: ApiHTTP, account: str, amount: int, note: str = "") -> Any:
    assert api.client is None
    assert api.credentials == {"TOKEN": "t-1"}
    assert api.url.geturl() == f"http://bank.example/v1/charges/{account}"
    assert (api.version, api.httpmethod) == ("v2", "post")
    return {"id": len(account), "sum": amount}


@async_test
@patch_integration(MockRules({Bank.charge: charge_mock}))
async def test_a_mock_gets_the_api_and_the_arguments() -> None:
    assert await bank.charge("abc", 5) == Bank.Schema.Charge(id=3, sum=5)


@patch_integration(MockRules({Bank.charge: charge_mock}))
def test_a_sync_test_runs_the_loop_itself(tmp_path: object) -> None:
    assert asyncio.run(bank.charge("abc", 5)).id == 3
    assert tmp_path is not None


class TestMethods:
    @async_test
    @patch_integration(MockRules({Bank.charge: charge_mock}))
    async def test_methods_keep_their_fixtures(self, tmp_path: object) -> None:
        assert (await bank.charge("abc", 5)).id == 3
        assert tmp_path is not None


class Callable:
    def __call__(self, api: ApiHTTP, *args: Any, **kwargs: Any) -> Any:
        return CHARGE


@pytest.mark.parametrize(
    "mock",
    [
        CHARGE,
        Bank.Schema.Charge(id=1, sum=5),
        lambda api, *args, **kwargs: CHARGE,
        Callable(),
        functools.partial(charge_mock, amount=5),
        Answer(201, CHARGE),
        lambda api, *args, **kwargs: Answer(201, CHARGE),
        answers(CHARGE),
    ],
    ids=["dict", "model", "sync", "callable", "partial", "answer", "returns_answer", "answers"],
)
@async_test
async def test_everything_that_may_stand_in_does(mock: Any) -> None:
    with patch_integration(MockRules({Bank.charge: mock})):
        arguments = ("a",) if isinstance(mock, functools.partial) else ("a", 5)
        if isinstance(mock, functools.partial):
            with pytest.raises(TypeError):  # as the real method would
                await bank.charge(*arguments)
            return
        assert await bank.charge(*arguments) == Bank.Schema.Charge(id=1, sum=5)


@async_test
async def test_a_test_that_changes_what_it_got_does_not_change_the_next_ones() -> None:
    with patch_integration(MockRules({Bank.anything: {"list": []}})):
        (await bank.anything("x"))["list"].append(1)
        assert await bank.anything("x") == {"list": []}


@async_test
async def test_a_mock_of_the_wrong_shape_fails_as_a_real_answer_would() -> None:
    with patch_integration(MockRules({Bank.charge: {"id": "x"}})):
        with pytest.raises(BadAnswer, match="id: .*sum: "):
            await bank.charge("a", 1)


@async_test
async def test_an_answer_with_a_status_becomes_what_a_real_one_would() -> None:
    mock = answers(
        Answer(404, {"error": "no such account"}),
        Answer(422, {"reason": "no"}),
        Answer(500, "oops"),
        Answer(429, headers={"Retry-After": "7"}),
        Answer(404, {"other": 1}),
    )
    with patch_integration(MockRules({Bank.charge: mock})):
        assert await bank.charge("a", 1) == Bank.SchemaError.http404(error="no such account")
        assert await bank.charge("a", 1) == Bank.SchemaError.http4xx(reason="no")
        with pytest.raises(UpstreamError) as failed:
            await bank.charge("a", 1)
        assert (failed.value.answered, failed.value.body) == (500, "oops")
        with pytest.raises(UpstreamBusy) as busy:
            await bank.charge("a", 1)
        assert busy.value.retry_after_s == 7
        with pytest.raises(BadAnswer, match="error"):
            await bank.charge("a", 1)


@pytest.mark.parametrize(
    "mock", [httpx.ConnectError("no"), httpx.ConnectError], ids=["instance", "class"]
)
@async_test
async def test_an_exception_is_raised(mock: Any) -> None:
    with patch_integration(MockRules({Bank.charge: mock})):
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await bank.charge("a", 1)


@async_test
async def test_an_unmocked_call_is_an_error_that_says_what_to_do() -> None:
    rules = MockRules({Bank.charges: []})
    with patch_integration(rules):
        with pytest.raises(
            NotImplementedError,
            match=r"Bank.charge was called.*add \{Bank.charge: ...\} to MockRules, which has: "
            r"Bank.charges",
        ):
            await bank.charge("a", 1)
        with pytest.raises(UnmockedCall):
            await bank.rate("EUR")  # its fallback does not hide it
        with pytest.raises(UnmockedCall):
            [each async for each in bank.rows()]
    assert [each.split()[0] for each in rules.misses] == ["Bank.charge", "Bank.rate", "Bank.rows"]
    assert rules.calls == []


@async_test
async def test_answers_that_are_used_up_are_an_error() -> None:
    rules = MockRules({Bank.rate: answers(httpx.ConnectError("no"))}, patterns=True)
    with patch_integration(rules):
        with pytest.raises(UnmockedCall, match="once more after its 1 answers"):
            await bank.rate("EUR")
    assert len(rules.misses) == 1


@async_test
async def test_inner_rules_go_first_and_the_outer_ones_take_the_rest() -> None:
    outer = MockRules({Bank.charges: [], Bank.charge: {"id": 1, "sum": 1}})
    inner = MockRules({Bank.charge: {"id": 2, "sum": 2}})
    async with patch_integration(outer):
        with patch_integration(inner):
            assert (await bank.charge("a", 1)).id == 2
            assert await bank.charges() == []
        assert (await bank.charge("a", 1)).id == 1
    assert [len(outer.calls), len(inner.calls)] == [2, 1]


async def async_rows(api: ApiHTTP) -> AsyncIterator[Any]:
    yield {"number": 1}
    yield Bank.Schema.Row(number=2)


def sync_rows(api: ApiHTTP) -> Iterator[Any]:
    yield {"number": 1}
    yield {"number": 2}


async def list_of_rows(api: ApiHTTP) -> list[Any]:
    return [{"number": 1}, {"number": 2}]


@pytest.mark.parametrize(
    "mock",
    [
        async_rows,
        sync_rows,
        list_of_rows,
        [{"number": 1}, {"number": 2}],
        Answer(200, [{"number": 1}, {"number": 2}]),
    ],
    ids=["async_generator", "generator", "returns_list", "list", "answer"],
)
@async_test
async def test_an_endpoint_that_yields_takes_whatever_has_items(mock: Any) -> None:
    with patch_integration(MockRules({Bank.rows: mock})):
        assert [each.number async for each in bank.rows()] == [1, 2]


@async_test
async def test_an_endpoint_that_yields_fails_as_a_real_one_would() -> None:
    with patch_integration(MockRules({Bank.rows: Answer(404, {"error": "gone"})})):
        with pytest.raises(UpstreamError) as failed:
            [each async for each in bank.rows()]
        assert failed.value.error == Bank.SchemaError.http404(error="gone")
    with patch_integration(MockRules({Bank.rows: [{"number": "x"}]})):
        with pytest.raises(BadAnswer):
            [each async for each in bank.rows()]
    with patch_integration(MockRules({Bank.rows: {"number": 1}})):
        with pytest.raises(BadIntegration, match="gave a dict; give a list, or a generator"):
            [each async for each in bank.rows()]
    with patch_integration(MockRules({Bank.charges: async_rows})):
        with pytest.raises(BadIntegration, match="answers once"):
            await bank.charges()


@async_test
async def test_patterns_stand_around_mocks_if_they_are_told_to() -> None:
    down = Bank("http://down.example")
    rules = MockRules({Bank.rate: httpx.ConnectError("no")}, patterns=True)
    with patch_integration(rules):
        for _ in range(3):
            assert (await down.rate("EUR")).rate == 0.0  # the fallback's
    mocks = MockRules({Bank.rate: answers(httpx.ReadError("no"), {"currency": "E", "rate": 2})})
    with patch_integration(mocks), pytest.raises(httpx.ReadError):
        await down.rate("EUR")
    again = MockRules(mocks_with_retry(), patterns=True)
    with patch_integration(again):
        # The breaker that opened above was that patch's own.
        assert (await down.rate("EUR")).rate == 2


def mocks_with_retry() -> dict[Any, Any]:
    return {Bank.rate: answers(httpx.ReadError("no"), {"currency": "E", "rate": 2})}


class Shaky(Bank):
    integration = Bank.integration

    @integration.endpoint(Bank.endpoints()["rate"].method, "/shaky")
    @sp.CircuitBreaker(fail_threshold=2)
    async def shaky(api: ApiHTTP) -> Any:
        raise AssertionError("is never called")


@async_test
async def test_a_breaker_around_a_mock_opens_and_the_mock_is_left_alone() -> None:
    asked: list[ApiHTTP] = []

    async def fails(api: ApiHTTP) -> None:
        asked.append(api)
        raise OSError

    shaky = Shaky("http://a")
    with patch_integration(MockRules({Shaky.shaky: fails}, patterns=True)):
        for _ in range(2):
            with pytest.raises(OSError):
                await shaky.shaky()
        with pytest.raises(CircuitBreakerError):
            await shaky.shaky()
    assert len(asked) == 2


@async_test
async def test_no_client_is_opened() -> None:
    def open_nothing() -> Any:
        raise AssertionError("nobody needs one")

    lonely = Bank(client=open_nothing)
    with patch_integration(MockRules({Bank.charge: CHARGE})):
        assert (await lonely.charge("a", 5)).id == 1


def test_something_that_is_no_rules_is_refused() -> None:
    with pytest.raises(BadIntegration, match=r"takes MockRules\(\{"):
        patch_integration({Bank.charge: CHARGE})  # type: ignore[arg-type]
