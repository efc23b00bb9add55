"""Recorded answers are compared with what endpoints declare today, each in its own place."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field

from backstay.errors import BadIntegration, ContractBroken
from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP
from backstay.testing.integrations.contract import check_contract, check_live
from backstay.testing.integrations.tapes import record_integration
from tests.integration.upstream import Upstream, answer, json_answer
from tests.support import async_test
from tests.testing.integrations.bank import Bank

JSON = ["content-type: application/json"]


def told(endpoint: str, status: int, body: Any, **more: Any) -> dict[str, Any]:
    answered = {"status": status, "headers": JSON, "body": {"json": body}}
    return {
        "endpoint": endpoint,
        "request": {"method": "GET", "url": "/"},
        "answer": answered,
        **more,
    }


def written(path: Path, *exchanges: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"backstay_tape": 1, "exchanges": exchanges}))
    return path


def faults(path: Path, *kinds: type[EndpointsDeclaration], strict: bool = False) -> list[str]:
    with pytest.raises(ContractBroken) as broken:
        check_contract(path, *(kinds or (Bank,)), strict=strict)
    assert isinstance(broken.value, AssertionError)
    assert all(each in str(broken.value) for each in broken.value.faults)
    return list(broken.value.faults)


def test_answers_that_fit_are_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.json",
        told("Bank.charge", 200, {"id": 1, "sum": 2, "desk": "north"}),
        told("Bank.charge", 404, {"error": "x"}),
        told("Bank.charge", 422, {"reason": "x"}),
        told("Bank.charges", 200, [{"id": 1, "sum": 2}]),
        told("Bank.rate", 200, {"value": 2}, returned={"json": {"currency": "E", "rate": 2}}),
        told("Bank.rate", 200, {"login": True}, returned={"part": True}),
        told("Bank.rows", 200, None, returned={"items": [{"number": 1}, {"number": 2}]}),
        {**told("Bank.charge", 200, None), "answer": {"error": "ConnectError"}},
        told("Other.thing", 500, None),
    )
    assert check_contract(path, Bank) == 6


def test_each_fault_is_told_with_file_endpoint_status_and_field(tmp_path: Path) -> None:
    written(
        tmp_path / "deep" / "a.json",
        told("Bank.charge", 200, {"id": "x", "desk": "east"}),
        told("Bank.charge", 404, {"message": "x"}),
    )
    written(
        tmp_path / "b.json",
        told("Bank.charge", 500, {"oops": 1}),
        told("Bank.charge", 302, {}),
        told("Bank.charges", 200, [{"id": 1, "sum": 2}, {"id": 1, "sum": None}]),
        told("Bank.rate", 200, {"value": 2}, returned={"json": {"currency": "E"}}),
        told("Bank.rows", 200, None, returned={"items": [{"number": 1}, {"number": "x"}]}),
        told("Bank.refund", 200, {}),
    )
    found = faults(tmp_path)
    assert [each.partition(": ")[0] for each in found] == ["b.json"] * 6 + ["deep/a.json"] * 4
    assert found[0] == "b.json: Bank.charge, status 500: SchemaError has no http500 and no http5xx"
    assert found[1] == "b.json: Bank.charge, status 302: it leads elsewhere, and is not followed"
    del found[1]
    assert found[1].startswith("b.json: Bank.charges, status 200: 1.sum: Input should be")
    assert found[2] == "b.json: Bank.rate, status 200: rate: Field required"
    assert found[3].startswith("b.json: Bank.rows, status 200: number: Input should be")
    assert found[4] == "b.json: Bank.refund is no endpoint any more; record the tape anew"
    assert found[5].startswith("deep/a.json: Bank.charge, status 200: id: Input should be")
    assert found[6] == "deep/a.json: Bank.charge, status 200: sum: Field required"
    assert found[7].endswith("desk: Input should be 'north' or 'south'")
    assert found[8] == "deep/a.json: Bank.charge, status 404: error: Field required"


def test_values_are_not_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", told("Bank.charge", 200, {"id": "personal", "sum": 1}))
    assert "personal" not in str(faults(path))


class Shop(EndpointsDeclaration):
    integration = IntegrationHTTP("Shop")

    class Schema:
        class Part(BaseModel):
            name: str = Field(default="", validation_alias=AliasChoices("name", "title"))
            first: int = Field(default=0, validation_alias=AliasPath("numbers", 0))

        class Open(BaseModel):
            model_config = ConfigDict(extra="allow")
            parts: list["Shop.Schema.Part"] = []
            by_name: dict[str, "Shop.Schema.Part"] = {}

        class Key(BaseModel):
            api_key: str = Field(pattern="^k-")
            session_id: int | str = 0
            pin: int = Field(ge=0)

    class SchemaError:
        class http4xx(BaseModel):
            error: str

    @integration.endpoint(HTTPMethod.get, "/open")
    async def open(api: ApiHTTP) -> Schema.Open:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/key")
    async def key(api: ApiHTTP) -> Schema.Key:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/response")
    async def response(api: ApiHTTP) -> httpx.Response:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/raw")
    async def raw(api: ApiHTTP) -> Any:
        return await api.send()


Shop.Schema.Open.model_rebuild()


def test_strict_also_tells_of_fields_that_no_model_has(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.json",
        told("Bank.charge", 200, {"id": 1, "sum": 1, "new": 1, "amount": 2}),
        told("Bank.charge", 404, {"error": "x", "code": 1}),
        told(
            "Shop.open",
            200,
            {
                "anything": 1,
                "parts": [{"title": "a", "numbers": [1]}, {"name": "b", "size": 1}],
                "by_name": {"x": {"colour": 1}},
            },
        ),
        told("Shop.raw", 200, {"whatever": 1}),
        told("Shop.response", 500, {"whatever": 1}),
    )
    assert check_contract(path, Bank, Shop) == 5
    found = [each.partition("status ")[2] for each in faults(path, Bank, Shop, strict=True)]
    assert found == [
        "200: new: no model has this field",
        "200: amount: no model has this field",
        "404: code: no model has this field",
        "200: parts.1.size: no model has this field",
        "200: by_name.x.colour: no model has this field",
    ]


def test_what_was_masked_is_left_alone(tmp_path: Path) -> None:
    masked = {"api_key": "***", "session_id": "***", "pin": 0}
    assert check_contract(written(tmp_path / "a.json", told("Shop.key", 200, masked)), Shop) == 1
    other = written(tmp_path / "b.json", told("Shop.key", 200, {"api_key": "***"}))
    assert faults(other, Shop) == ["b.json: Shop.key, status 200: pin: Field required"]


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    garbage = told("Bank.charge", 200, None)
    garbage["answer"]["body"] = {"text": "<html>"}
    path = written(tmp_path / "a.json", garbage)
    assert "Invalid JSON" in faults(path)[0]


def test_a_body_that_was_cut_is_left_alone(tmp_path: Path) -> None:
    cut = told("Bank.charge", 200, None)
    cut["answer"]["body"] = {"text": "{", "cut": True}
    path = written(tmp_path / "a.json", cut, told("Bank.charge", 404, {"error": "x"}))
    assert check_contract(path, Bank) == 1


def test_a_check_of_nothing_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(BadIntegration, match="no answer of Bank is in .*, in 0 files"):
        check_contract(tmp_path, Bank)
    written(tmp_path / "a.json", told("Other.thing", 200, None))
    with pytest.raises(BadIntegration, match="in 1 files; there is nothing to compare"):
        check_contract(tmp_path, Bank)
    with pytest.raises(BadIntegration, match="say whose answers"):
        check_contract(tmp_path)
    with pytest.raises(BadIntegration, match="is of classes such as"):
        check_contract(tmp_path, Bank("http://a"))  # type: ignore[arg-type]
    with pytest.raises(BadIntegration, match="there is no tape"):
        check_contract(tmp_path / "missing.json", Bank)


@async_test
async def test_what_was_recorded_fits_until_a_model_changes(tmp_path: Path) -> None:
    script = {
        "/rates/EUR": [answer(status=404), json_answer({"value": 2})],
        "/charges/a": json_answer({"id": 1, "sum": 5}),
        "/rows": answer(b"1\n2\n"),
    }
    async with Upstream(script) as upstream, Bank(upstream.url) as bank:
        with record_integration(tmp_path / "a.json"):
            await bank.rate("EUR")
            await bank.charge("a", 5)
            [each async for each in bank.rows()]
    found = faults(tmp_path)
    # The fallback has hidden that this is none of the declared errors.
    assert found == ["a.json: Bank.rate, status 404: the body: Input should be an object"]


@async_test
async def test_answers_of_today_are_compared_as_they_come() -> None:
    script = {"/charges/a": [json_answer({"id": 1, "sum": 5}), json_answer({"id": 1, "total": 5})]}
    async with Upstream(script) as upstream, Bank(upstream.url) as bank:
        async with check_live(Bank, strict=True):
            await bank.charge("a", 5)

        @check_live(Bank)
        async def drifted() -> None:
            with pytest.raises(Exception, match="sum"):
                await bank.charge("a", 5)

        with pytest.raises(
            ContractBroken, match="live: Bank.charge, status 200: sum: Field required"
        ):
            await drifted()
        with pytest.raises(BadIntegration, match="nothing of Bank was called"), check_live(Bank):
            pass
        with pytest.raises(KeyError), check_live(Bank):
            raise KeyError
