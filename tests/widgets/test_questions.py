"""Questions of a call: named, asked once, answered by the round that follows."""

import pytest

from backstay.widgets.call import QuestionOpen
from backstay.widgets.questions import Questions, folders, said, sampling


def test_a_question_without_an_answer_is_open_and_stops_the_call() -> None:
    questions = Questions({})
    with pytest.raises(QuestionOpen):
        questions.elicit("Name?", {"type": "object"}, "name")
    params = {"mode": "form", "message": "Name?", "requestedSchema": {"type": "object"}}
    assert questions.open == {"name": {"method": "elicitation/create", "params": params}}


def test_an_answered_question_is_not_asked_again() -> None:
    questions = Questions({"name": {"action": "accept", "content": {"name": "Ada"}}})
    assert questions.elicit("Name?", {}, "name") == ("accept", {"name": "Ada"})
    assert questions.open == {}


@pytest.mark.parametrize("answer", [None, 7, [], {"action": 3}, {"content": "x"}])
def test_an_answer_of_the_wrong_make_is_no_yes(answer: object) -> None:
    action, content = Questions({"k": answer}).elicit("Sure?", {}, "k")
    assert action != "accept"
    assert content == {}


def test_two_questions_of_a_call_have_two_keys() -> None:
    questions = Questions({"k": {"action": "decline"}})
    questions.elicit("One?", {}, "k")
    with pytest.raises(ValueError, match="'k'"):
        questions.elicit("Two?", {}, "k")


def test_a_key_that_is_made_depends_on_what_is_asked_and_when() -> None:
    def keys(*asked: str) -> list[str]:
        questions = Questions({})
        for each in asked:
            with pytest.raises(QuestionOpen):
                questions.elicit(each, {}, None)
        return list(questions.open)

    assert keys("a", "b") == keys("a", "b")
    assert keys("a")[0] != keys("b")[0]
    assert len(set(keys("a", "a"))) == 2


def test_what_the_clients_model_and_its_roots_say_is_read_with_care() -> None:
    assert said({"content": {"type": "text", "text": "Paris"}}) == "Paris"
    assert said({"content": {"type": "image"}}) == said(None) == said([]) == ""
    assert folders({"roots": [{"uri": "file:///a"}, 7]}) == [{"uri": "file:///a"}]
    assert folders(None) == folders({"roots": None}) == []


def test_what_is_not_said_is_not_sent_to_the_clients_model() -> None:
    assert sampling({"prompt": "Hi", "max_tokens": 5}) == {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Hi"}}],
        "maxTokens": 5,
    }
    full = sampling({"prompt": "", "max_tokens": 1, "system_prompt": "Be", "temperature": 0.0})
    assert (full["systemPrompt"], full["temperature"]) == ("Be", 0.0)
