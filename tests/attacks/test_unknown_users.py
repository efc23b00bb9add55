"""Nobody finds out who has an account here: not by answers, and not by the work that is done.

Time itself is measured in the benchmarks. Here the hashing is counted, which is nearly all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.attacks.stage import Stage, Standing, assert_problem
from tests.support import async_test, shown

NAMES = {
    "somebody": "ada",
    "nobody": "zoe",
    "somebody in capitals": "ADA",
    "somebody and a space": "ada ",
    "SQL": "ada' --",
    "a name with a per cent sign": "%",
    "a name of one character": "a",
    "a name in another script": "\u0430da",
    "a name in full-width letters": "\uff41\uff44\uff41",
    "a name with a combining mark": "a\u0301da",
    "a long name": "a" * 256,
    "a name with a line break": "ada\n",
    "a name that is a number": "0",
    "a name that is a path": "../ada",
}
PASSWORDS = {
    "a wrong one": "wrong",
    "one character": "x",
    "a long one": "x" * 1024,
    "one that is too long": "x" * 1025,
    "one that is much too long": "x" * 4096,
    "one in another script": "\u043f\u0430\u0440\u043e\u043b\u044c",
    "one with a line break": "ada of the shop\n",
    "the right one of somebody else": "bob of the shop",
    "a hash": "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAA",
}


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


async def guess(stage: Stage, name: str, password: str) -> tuple[httpx.Response, int]:
    """What is answered, and how often a password was hashed for it."""
    before = stage.hasher.verified
    answer = await stage.client.post("/token", data={"username": name, "password": password})
    return answer, stage.hasher.verified - before


def told_apart(answer: httpx.Response) -> tuple[object, ...]:
    """What of an answer could tell one case from another."""
    body = answer.json()
    for name in ("error_id", "correlation_id", "datetime"):
        body.pop(name)
    headers = [
        (name, value)
        for name, value in answer.headers.items()
        if name not in ("x-request-id", "date")
    ]
    return answer.status_code, sorted(body.items()), headers


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_every_refusal_is_the_same_and_costs_the_same(
    password: str, name: str, standing: Standing
) -> None:
    stage = standing.stage()
    known, work = standing.run(guess, stage, "ada", "wrong")
    assert_problem(known, 401)
    assert work == 1
    answer, cost = standing.run(guess, stage, name, password)
    assert told_apart(answer) == told_apart(known)
    assert cost == 1
    standing.run(stage.assert_untouched)


# Refused before anybody is asked: that no account has such a name or password is known to all, so
# nothing follows from it. It only has to be so for everybody alike.
IMPOSSIBLE = {
    "an empty password": ("", None),
    "a password with a zero byte": ("ada of the shop\0", None),
    "a password of a megabyte": ("x" * 2**20, None),
    "a name with a zero byte": ("x", "{}\0"),
    "a name of a megabyte": ("x", "{}" + "a" * 2**20),
}


@pytest.mark.parametrize(("password", "form"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_is_refused_alike_for_everybody(
    password: str, form: str | None, standing: Standing
) -> None:
    stage = standing.stage()
    seen = []
    for name in ("ada", "zoe"):
        answer, cost = standing.run(guess, stage, (form or "{}").format(name), password)
        assert_problem(answer, 400, 401)
        seen.append((told_apart(answer), cost))
    assert seen[0] == seen[1]
    assert seen[0][1] <= 1


# A client says itself how its form is written, and Python knows many ways.
CHARSETS = [
    *("unicode_escape", "raw_unicode_escape", "utf-7", "utf-16", "utf-16-le", "utf-32", "cp037"),
    *("idna", "punycode", "undefined", "rot13", "zlib", "hex", "base64", "nothing", "a" * 300),
]
WRITTEN = [
    b"ad\\ud800a",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"ada\\x00",
    b"\xff\xfe",
    b"xn--a" + b"a" * 80,
    b"+2AA-",
    b"=" * 7,
]


@pytest.mark.parametrize("charset", CHARSETS, ids=shown)
@pytest.mark.parametrize("written", WRITTEN, ids=shown)
def test_no_encoding_of_a_name_or_password_is_an_error_of_ours(
    written: bytes, charset: str, standing: Standing
) -> None:
    stage = standing.stage()
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in ((b"username", written), (b"password", written))
    )
    kind = f"multipart/form-data; boundary=x; charset={charset}"

    async def try_it() -> None:
        answer = await stage.client.post(
            "/token", content=body + b"--x--\r\n", headers={"Content-Type": kind}
        )
        assert_problem(answer, 400, 401, 422)
        await stage.assert_untouched()

    standing.run(try_it)


@pytest.mark.parametrize(
    "form",
    [
        b"username=%00&password=x",
        b"username=ada%ED%A0%80&password=x",
        b"username=%ff%fe&password=%ff",
        b"username=ada%0d%0aX: y&password=x",
        b"username=ada&username=bob&password=x",
        b"username[]=ada&password[$ne]=x",
        b"username=ada&password=",
        b"username=&password=x",
        b"username=ada",
        b"password=x",
        b"=",
        b"&" * 5000,
        b"a=&" * 2000,
        b"username",
        b"%",
        b"\0",
        b"\xff" * 100,
    ],
    ids=shown,
)
def test_no_form_is_an_error_of_ours(form: bytes, standing: Standing) -> None:
    stage = standing.stage()
    for kind in (
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "text/plain",
        "nonsense",
    ):
        answer = standing.run(
            stage.client.post, "/token", content=form, headers={"Content-Type": kind}
        )
        assert_problem(answer, 400, 401, 413, 422)
    standing.run(stage.assert_untouched)


@async_test
async def test_who_has_no_password_costs_as_much_before_anybody_has_logged_in() -> None:
    """The first to ask must not wait for what is prepared for strangers."""
    for name in ("zoe", "ada"):
        with Standing() as standing:
            stage = standing.stage()
            _, cost = standing.run(guess, stage, name, "wrong")
            assert cost == 1
