"""No secret gets into what is kept, under whatever name and however deep."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadEvents
from backstay.events import Masking
from backstay.events.masking import MASK
from backstay.events.secret_patterns import FRAGMENTS, WORDS

CANARY = "kanarienvogel"
MASKING = Masking(names=("licence no",))


def spellings(name: str) -> list[str]:
    parts = name.split()
    camel = parts[0] + "".join(each.capitalize() for each in parts[1:])
    spelt = ["_".join(parts), "-".join(parts), camel, camel.capitalize(), "".join(parts)]
    spelt += ["_".join(parts).upper(), f"x-{'-'.join(parts)}", f"user.{'_'.join(parts)}"]
    return [*spelt, f"{'_'.join(parts)}_2", f"form[{'_'.join(parts)}]"]


secret_names = st.sampled_from([*FRAGMENTS, *WORDS, "licence no"]).flatmap(
    lambda name: st.sampled_from(spellings(name))
)
harmless = st.sampled_from(["path", "items", "x", "method", "note", "0"])
secrets = st.one_of(
    st.just(CANARY),
    st.lists(st.just(CANARY), min_size=1, max_size=3),
    st.dictionaries(harmless, st.just(CANARY), min_size=1, max_size=2),
    st.just(CANARY.encode()),
)
named = st.one_of(
    st.dictionaries(secret_names, secrets, min_size=1, max_size=3),
    st.tuples(secret_names, st.just(CANARY)),
    st.builds(lambda name: [name.encode(), CANARY.encode()], secret_names),
    st.builds(lambda name: {"name": name, "value": CANARY}, secret_names),
    st.builds(lambda name: {"loc": ("body", name), "input": CANARY, "msg": "no"}, secret_names),
)
nested = st.recursive(
    named,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(harmless, inner, max_size=3)
    ),
    max_leaves=6,
)


@given(nested)
def test_what_is_under_a_secret_s_name_never_appears(value: Any) -> None:
    assert CANARY not in json.dumps(MASKING.facts({"outermost": value}))


templates = [
    "{name}={value}",
    "?a=1&{name}={value}&b=2",
    "{name}: {value}",
    '{{"{name}": "{value}"}}',
    "{{'{name}': '{value}'}}",
    '{{\\"{name}\\": \\"{value}\\"}}',
    "'{name}': b'{value}'",
    "{name} = '{value}'",
    "--{name}={value}",
    "{name}=['x', '{value}']",
    "{name}=>{value};",
    "Set-Cookie: {name}={value}; Path=/",
    "{name}: Bearer {value}",
    "{name}={value}@x",
    "Cookie: a=b; {name}={value}",
    'INFO "{name}" : "unfinished {value}',
]


@given(secret_names, st.sampled_from(templates), st.sampled_from(["", "failed with ", "x " * 50]))
def test_what_stands_behind_a_secret_s_name_in_a_text_never_appears(
    name: str, template: str, before: str
) -> None:
    text = before + template.format(name=name, value=CANARY)
    assert CANARY not in MASKING.text(text), text


@given(st.text(max_size=300), secret_names)
def test_whatever_is_around_it(around: str, name: str) -> None:
    half = len(around) // 2
    text = f"{around[:half]} {name}={CANARY} {around[half:]}"
    assert CANARY not in MASKING.text(text)
    assert CANARY not in json.dumps(MASKING.facts({"text": text, around: {name: CANARY}}))


@pytest.mark.parametrize(
    "text",
    [
        "GET /items/{item_id}",
        "the order of 17:30 has 3 items",
        "passenger: Bob, spinning: yes, author: Ann, opinion: good, inside: out",
        "0123456789abcdef0123456789abcdef",
        "SELECT * FROM orders WHERE id = 7",
        "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert MASKING.text(text) == text


def test_values_of_all_kinds_come_out_as_json_has_them() -> None:
    class Colour(Enum):
        RED = "red"

    @dataclass
    class Opaque:
        inside: str = CANARY

    at = datetime(2027, 1, 1, tzinfo=UTC)
    masked = MASKING.facts(
        {
            "none": None,
            "yes": True,
            "int": 7,
            "float": 1.5,
            "nan": float("nan"),
            "inf": float("-inf"),
            "huge": 10**5_000,
            "card": 4111111111111111,
            "at": at,
            "money": Decimal("9.90"),
            "id": UUID(int=7),
            "colour": Colour.RED,
            "bytes": b"raw \xff",
            "set": {1},
            "tuple": (1, 2, 3),
            "opaque": Opaque(),
            "type": Opaque,
            7: "number",
            (1, 2): "pair",
            "token": None,
            "has_token": True,
        }
    )
    assert masked == {
        "none": None,
        "yes": True,
        "int": 7,
        "float": 1.5,
        "nan": "nan",
        "inf": "-inf",
        "huge": "<int of 16610 bits>",
        "card": MASK,
        "at": str(at),
        "money": "9.90",
        "id": str(UUID(int=7)),
        "colour": "red",
        "bytes": "raw \ufffd",
        "set": [1],
        "tuple": [1, 2, 3],
        "opaque": f"<{Opaque.__qualname__}>",
        "type": "<type>",
        "7": "number",
        "<key>": "pair",
        "token": None,
        "has_token": MASK,
    }
    json.dumps(masked, allow_nan=False)


def test_texts_are_fit_for_any_database() -> None:
    assert MASKING.text("a\0b\ud800c") == "a\ufffdb?c"


@given(st.text(max_size=12_000), st.integers(1, 2_000))
def test_texts_are_no_longer_than_wanted(text: str, most: int) -> None:
    masked = MASKING.text(text, most=most)
    assert len(masked) <= most
    assert masked.encode() is not None
    assert "\0" not in masked


def test_a_secret_that_would_be_cut_in_two_goes_whole() -> None:
    for length in range(3_900, 4_010, 7):
        text = "x" * length + " " + f"eyJhbGciOi{CANARY}" * 20
        assert CANARY not in MASKING.text(text, most=9_000)
    assert MASKING.text("y" * 20_000) == " …"
    assert MASKING.text(" " * 20_000) == " …"


def test_what_is_large_is_cut() -> None:
    class Endless(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return self

        def __iter__(self) -> Any:
            return iter(["inner"])

        def __len__(self) -> int:
            return 1

    masked = MASKING.facts(
        {
            "many": list(range(10_000)),
            "range": range(10**12),
            "wide": {str(each): each for each in range(1_000)},
            "endless": Endless(),
        }
    )
    assert masked["many"][-1] == "… and 9950 more"
    assert len(masked["range"]) == 51
    assert masked["wide"]["…"] == 950
    assert str(masked["endless"]).count("inner") < 10
    loop: list[Any] = []
    loop.append(loop)
    assert len(json.dumps(MASKING.value(loop))) < 100
    words = MASKING.value(["word " * 1_000] * 50)
    assert words.count("…") == 50 - 11
    bush: Any = "leaf"
    for _ in range(6):
        bush = [bush] * 50
    assert len(json.dumps(MASKING.value(bush))) < 10_000


def test_a_path_goes_if_its_route_has_a_secret_in_it() -> None:
    route = "/reset/{token}"
    facts = {"method": "GET", "path": f"/reset/{CANARY}", "route": route}
    assert MASKING.facts(facts) == {"method": "GET", "path": route, "route": route}
    kept = {"path": "/items/7", "route": "/items/{item_id}"}
    assert MASKING.facts(kept) == kept


def test_the_argument_behind_a_secret_s_option_goes() -> None:
    masked = MASKING.value(["mysqldump", "--password", CANARY, "shop"])
    assert masked == ["mysqldump", "--password", MASK, "shop"]


def test_names_that_are_long_without_sense_are_taken_for_secrets() -> None:
    assert CANARY not in str(MASKING.value({"n" * 5_000: CANARY}))


def test_names_and_patterns_of_one_s_own_count_too() -> None:
    mine = Masking(
        names=["iban", "matter no"], patterns=[r"KD-\d+", re.compile(r"(?P<kept>ref )\w+")]
    )
    assert mine.is_secret("customer_IBAN")
    assert mine.is_secret("matterNo")
    assert not mine.is_secret("matter")
    assert mine.text("KD-77 with ref abc and iban: DE02") == "*** with ref *** and iban: ***"


def test_names_that_are_no_secrets_are_kept_also_in_texts() -> None:
    mine = Masking(keep=("input_tokens", "next token"))
    facts = {"input_tokens": 12, "nextToken": 3, "token": "x", "note": "input_tokens=12 token=x"}
    assert mine.facts(facts) == {
        "input_tokens": 12,
        "nextToken": 3,
        "token": MASK,
        "note": f"input_tokens=12 token={MASK}",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": "password"},
        {"names": [7]},
        {"names": ["--"]},
        {"keep": [""]},
        {"patterns": "a"},
        {"patterns": ["("]},
        {"patterns": [b"a"]},
        {"patterns": [re.compile(b"a")]},
        {"patterns": 7},
    ],
)
def test_what_could_not_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadEvents, match=r"Masking\((names|patterns|keep)=\)"):
        Masking(**wrong)


def test_it_is_a_value() -> None:
    assert Masking(names=["a"]) == Masking(names=("a",))
    assert repr(Masking()) == "Masking(names=(), patterns=(), keep=())"
    with pytest.raises(AttributeError):
        Masking().names = ("b",)  # type: ignore[misc]  # that is the test


def test_what_it_remembers_of_names_is_bounded() -> None:
    mine = Masking()
    for number in range(10_000):
        mine.is_secret(f"name{number}")
    assert len(mine._known) <= 2_000
