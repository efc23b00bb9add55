"""Answers about single items."""

from pydantic import BaseModel

from backstay.viewset import FullViewSet
from backstay.viewset.answers import item_answer, json_answer
from backstay.viewset.plan import Plan
from tests.viewset.stage import Thing, ThingRow


class Plain(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing


class Versioned(Plain):
    version_field = "version"


def test_bytes_of_json_are_sent_as_they_are() -> None:
    answer = json_answer(b'{"a":1}', status=201, headers={"Link": "<x>"})
    assert (answer.status_code, answer.body) == (201, b'{"a":1}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["link"] == "<x>"


def test_an_object_goes_through_the_output_schema() -> None:
    thing = ThingRow(id=1, name="cup", price=2, secret="x")
    answer = item_answer(Plan(Plain()), thing, status=201, location="/things/1")
    assert answer.body == b'{"id":1,"name":"cup","price":2}'
    assert answer.headers["location"] == "/things/1"
    assert "etag" not in answer.headers


def test_a_version_is_the_tag_of_the_answer_and_its_own_304() -> None:
    thing = ThingRow(id=1, name="cup", price=2, version=7)
    plan = Plan(Versioned())
    assert item_answer(plan, thing).headers["etag"] == '"7"'
    known = item_answer(plan, thing, if_none_match='"6", W/"7"')
    assert (known.status_code, known.body, known.headers["etag"]) == (304, b"", '"7"')
    assert item_answer(plan, thing, if_none_match='"6"').status_code == 200


def test_what_an_override_made_of_its_own_is_answered_without_a_version() -> None:
    class Other(BaseModel):
        id: int
        name: str
        price: int

    answer = item_answer(Plan(Versioned()), Other(id=1, name="cup", price=2))
    assert answer.body == b'{"id":1,"name":"cup","price":2}'
    assert "etag" not in answer.headers
