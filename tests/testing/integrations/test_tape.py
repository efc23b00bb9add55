"""A tape is a file that people read and compare; what is not on it is said in a way that helps."""

import json
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.testing.integrations.block import Miss
from backstay.testing.integrations.exchange import Exchange
from backstay.testing.integrations.redaction import Redaction
from backstay.testing.integrations.tape import Tape, load


def exchange(number: int, body: Any = None, **answer: Any) -> Exchange:
    request: dict[str, Any] = {"method": "GET", "url": f"{{base_url}}/{number}"}
    if body is not None:
        request["body"] = {"json": body}
    return Exchange("Bank.charge", request, {"status": 200, **answer})


def recorded(path: Path, *exchanges: Exchange, **options: Any) -> Path:
    tape = Tape(path, "record", **options)
    for each in exchanges:
        tape.add(each)
    tape.save()
    return path


def test_a_file_is_sorted_and_the_same_whatever_ran_first(tmp_path: Path) -> None:
    one = recorded(tmp_path / "a" / "1.json", exchange(2), exchange(1, x=1), exchange(1, x=2))
    other = recorded(tmp_path / "a" / "2.json", exchange(1, x=1), exchange(1, x=2), exchange(2))
    assert one.read_text() == other.read_text()
    assert [each.answer.get("x") for each in load(one)] == [1, 2, None]
    lines = one.read_text().splitlines()
    assert lines[0] == "{"
    assert '      "endpoint": "Bank.charge",' in lines


def test_a_file_is_written_whole_and_only_if_something_changed(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.json", exchange(1))
    before = path.stat()
    recorded(path, exchange(1))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino
    recorded(path, exchange(2))
    assert path.stat().st_ino != before.st_ino
    with pytest.raises(TypeError):
        recorded(path, exchange(3, x=object()))
    assert [each.request["url"] for each in load(path)] == ["{base_url}/2"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_texts_are_written_as_they_are_and_half_pairs_as_they_can_be(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.json", exchange(1, body={"a": "é"}))
    assert "é" in path.read_text()
    path = recorded(tmp_path / "b.json", exchange(1, body={"a": "\ud800"}))
    assert load(path)[0].request["body"] == {"json": {"a": "\ud800"}}


def test_what_has_no_answer_is_not_written(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.json", exchange(1), Exchange("Bank.charge", {}, {}))
    assert len(load(path)) == 1


def test_secrets_never_reach_the_disk_also_from_the_functions_hands(tmp_path: Path) -> None:
    redaction = Redaction()
    redaction.learn_all(["s3cr3t"])

    def redact(part: dict[str, Any]) -> dict[str, Any]:
        if "status" in part:
            return {**part, "note": 1, "body": {"json": "s3cr3t"}}
        return {**part, "body": {"json": {"name": "(removed)"}}}

    path = recorded(
        tmp_path / "a.json", exchange(1, body={"name": "Ada"}), redaction=redaction, redact=redact
    )
    text = path.read_text()
    assert "s3cr3t" not in text
    assert "Ada" not in text
    assert "(removed)" in text
    with pytest.raises(BadIntegration, match="redact= returns what is kept"):
        recorded(tmp_path / "b.json", exchange(1), redact=lambda part: None)


def test_answers_come_in_order_and_each_once(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.json", exchange(1, x=1), exchange(1, x=2), exchange(2))
    tape = Tape(path, "replay", exchanges=load(path))
    assert [tape.take(exchange(1)).answer["x"] for _ in range(2)] == [1, 2]
    assert tape.unused == ["Bank.charge: GET {base_url}/2"]
    with pytest.raises(
        Miss, match=r"a.json 2 times and was asked for once more; .*repeat_last=True"
    ):
        tape.take(exchange(1))
    with pytest.raises(AssertionError, match=r"not asked for: .*\n  not on it: "):
        tape.assert_all_used()
    again = Tape(path, "replay", exchanges=load(path), repeat_last=True)
    assert [again.take(exchange(1)).answer["x"] for _ in range(4)] == [1, 2, 2, 2]
    again.take(exchange(2))
    again.assert_all_used()


def test_what_is_not_there_is_told_with_the_nearest_and_the_difference(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.json", exchange(1, body={"amount": 5, "to": "a"}), exchange(2))
    tape = Tape(path, "replay", exchanges=load(path))
    with pytest.raises(Miss) as missed:
        tape.take(exchange(1, body={"amount": 6, "to": "a"}))
    told = str(missed.value)
    assert "is not on the tape" in told
    assert 'mode="record"' in told
    assert "The nearest is Bank.charge: GET {base_url}/1" in told
    assert [each.strip() for each in told.splitlines()[1:]] == [
        '-    "amount": 5,',
        '+    "amount": 6,',
    ]
    assert tape.misses == [told]
    with pytest.raises(Miss, match="which is empty"):
        Tape(path, "replay").take(exchange(1))
    ignoring = Tape(path, "replay", exchanges=load(path), ignore=["amount"])
    assert ignoring.take(exchange(1, body={"amount": 6, "to": "a"})).answer["status"] == 200


def test_a_difference_of_many_lines_is_cut(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.json", exchange(1, body=list(range(100))))
    with pytest.raises(Miss, match=r"\.\.\. and 180 more lines"):
        Tape(path, "replay", exchanges=load(path)).take(exchange(1, body=list(range(200, 300))))


def test_what_was_removed_is_gone(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "a.json", "record")
    one = exchange(1)
    tape.add(one)
    tape.remove(one)
    assert (tape.exchanges, tape.unused) == ([], [])
    assert "0 exchanges, mode 'record'" in repr(tape)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is no tape: JSONDecodeError"),
        ("[]", "is no tape: TypeError"),
        ('{"a": 1}', "is no tape: KeyError: 'backstay_tape'"),
        ('{"backstay_tape": 9}', "is of version 9, and 1 can be read"),
        (json.dumps({"backstay_tape": 1, "exchanges": [{}]}), "is no tape: KeyError"),
        (
            json.dumps(
                {
                    "backstay_tape": 1,
                    "exchanges": [{"endpoint": "", "request": {"headers": ["x"]}, "answer": {}}],
                }
            ),
            "is no tape: ValueError: 'x' is no header",
        ),
    ],
    ids=["broken", "list", "other", "version", "exchange", "header"],
)
def test_a_file_that_is_no_tape_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(BadIntegration, match=problem):
        load(path)


def test_a_file_that_is_not_there_is_told_how_to_record(tmp_path: Path) -> None:
    with pytest.raises(BadIntegration, match=r'there is no tape .*mode="record"'):
        load(tmp_path / "a.json")
