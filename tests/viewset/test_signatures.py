"""Handlers whose parameters are known only when a view set is."""

import inspect
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from backstay.viewset.signatures import (
    body,
    if_match_parameter,
    if_none_match_parameter,
    item_id_parameter,
    keyword,
    request_parameter,
    signed,
)


class Wish(BaseModel):
    name: str


def test_fastapi_calls_a_handler_with_the_parameters_that_it_was_signed_with() -> None:
    seen: dict[str, Any] = {}

    async def handler(**given: Any) -> None:
        seen.update(given)

    app = FastAPI()
    parameters = [
        request_parameter(),
        item_id_parameter(int),
        body("item", Wish),
        if_match_parameter(),
        if_none_match_parameter(),
        keyword("size", int, 7),
    ]
    app.put("/{item_id}")(signed(handler, parameters))
    with TestClient(app) as client:
        answer = client.put("/3?size=2", json={"name": "cup"}, headers={"if-match": '"1"'})
    assert answer.status_code == 200
    assert seen.pop("request").url.path == "/3"
    assert seen == {
        "item_id": 3,
        "item": Wish(name="cup"),
        "if_match": '"1"',
        "if_none_match": None,
        "size": 2,
    }


def test_every_parameter_is_taken_by_its_name() -> None:
    def handler(**_: Any) -> None: ...

    signed(handler, [request_parameter(), item_id_parameter(int)])
    kinds = {each.kind for each in inspect.signature(handler).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
