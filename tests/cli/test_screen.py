"""Where commands write, and how harmless what they write is."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from backstay.cli.screen import FLEXIBLE, Screen, fitted, new_table, plain, text


@given(st.text())
def test_no_text_of_a_row_can_steer_a_terminal(raw: str) -> None:
    shown = plain(raw)
    assert not any(ord(each) < 32 or 0x7F <= ord(each) < 0xA0 for each in shown)
    shown.encode("utf-8")


def test_escape_sequences_are_shown_as_such() -> None:
    assert plain("\x1b[2Jgone") == "\\x1b[2Jgone"
    assert plain("abc\u202edef") == "abc\\u202edef"
    assert plain("\ud800") == "\\ud800"


def test_ordinary_unicode_is_shown_as_it_is() -> None:
    for each in ("Größe", "日本語", "مرحبا", "👩‍👩‍👧", "é"):
        assert plain(each) == each


def test_line_breaks_stay_only_where_lines_are_wanted() -> None:
    assert plain("one\ntwo\tthree") == "one two three"
    assert plain("one\ntwo\tthree\r", lines=True) == "one\ntwo\tthree\\r"


def test_nothing_is_an_empty_text() -> None:
    assert plain(None) == ""
    assert plain(0) == "0"


def drawn(renderable: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_brackets_in_a_cell_are_no_markup() -> None:
    table = new_table("A")
    table.add_row(text("[red]not red[/red]"))
    assert drawn(table, 40) == ["A", "[red]not red[/red]"]


def test_flexible_columns_give_way_to_the_others() -> None:
    table = new_table("ID", ("TASK", FLEXIBLE), "WHEN")
    table.add_row(text("0123456789"), text("a_very_long_name_of_a_task"), text("3 m ago"))
    assert drawn(table, 30) == ["ID          TASK       WHEN", "0123456789  a_very_l…  3 m ago"]


def test_wide_characters_are_counted_as_the_terminal_does() -> None:
    table = new_table("A", "B")
    table.add_row(text("日本"), text("x"))
    table.add_row(text("abcd"), text("y"))
    assert drawn(table, 40)[1:] == ["日本  x", "abcd  y"]


def test_what_does_not_fit_is_counted() -> None:
    shown, more = fitted(list(range(10)), 4)
    assert shown == [0, 1, 2]
    assert str(more) == "… and 7 more"
    assert fitted([1, 2], None) == ([1, 2], None)
    assert fitted([1, 2], 2) == ([1, 2], None)
    assert fitted([1, 2], 0) == ([1], None)


def test_piped_output_has_no_colours_and_is_not_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    Screen().show(text("x" * 300, "bold red"))
    assert capsys.readouterr().out == "x" * 300 + "\n"


def test_json_is_ascii_where_the_stream_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    Screen(as_json=True).json({"task": "Größe"})
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert json.loads(stream.buffer.getvalue()) == {"task": "Größe"}


def test_notes_are_for_the_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().note("quiet")
    Screen(verbose=True).note("loud")
    said = capsys.readouterr()
    assert said.err == "loud\n"
    assert said.out == ""


def test_where_nobody_is_there_to_be_asked_the_remedy_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Screen().confirm("Delete all?", "give --yes") is None
    assert "give --yes" in capsys.readouterr().err


def test_a_count_is_kept_where_there_is_no_bar() -> None:
    count = Screen().counting("deleting", 10)
    with count as advance:
        advance(3)
        advance(4)
    assert count.done == 7
