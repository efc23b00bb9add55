"""Mocks answer with a status as HTTP has it, and one after the other."""

import httpx
import pytest
from pydantic import BaseModel, Field

from backstay.errors import BadIntegration
from backstay.testing.integrations.answer import Answer, answers


class Item(BaseModel):
    amount: int = Field(alias="sum")


def test_an_answer_is_a_response_of_the_client() -> None:
    response = Answer(404, {"error": "é"}, {"Retry-After": "3"}).response("GET", "http://a/b")
    assert isinstance(response, httpx.Response)
    assert (response.status_code, response.json()) == (404, {"error": "é"})
    assert response.headers["retry-after"] == "3"
    assert response.headers["content-type"] == "application/json"
    with pytest.raises(httpx.HTTPStatusError):
        response.raise_for_status()


def test_bodies_are_written_by_what_they_are() -> None:
    assert Answer(204).response("GET", "http://a").content == b""
    assert Answer(200, b"\xff").response("GET", "http://a").content == b"\xff"
    assert Answer(200, "é").response("GET", "http://a").text == "é"
    assert Answer(200, [Item(sum=3)]).response("GET", "http://a").json() == [{"sum": 3}]
    own = Answer(200, "<a/>", {"Content-Type": "text/xml"}).response("GET", "http://a")
    assert own.headers["content-type"] == "text/xml"


@pytest.mark.parametrize("status", [99, 600, "404"])
def test_a_status_that_is_none_is_refused(status: object) -> None:
    with pytest.raises(BadIntegration, match="from 100 to 599"):
        Answer(status)  # type: ignore[arg-type]


def test_answers_come_in_order_and_then_the_last_one() -> None:
    several = answers(1, 2, then=3)
    assert [several.at(number) for number in range(4)] == [1, 2, 3, 3]
    with pytest.raises(IndexError):
        answers(1).at(1)
    assert answers(None, then=None).at(5) is None


def test_no_answers_are_refused() -> None:
    with pytest.raises(BadIntegration, match="at least one"):
        answers()
