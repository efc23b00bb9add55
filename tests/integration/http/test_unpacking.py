"""What travels packed is unpacked a bounded piece at a time, and has to be whole."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.integration.http.unpacking import Unpacking

PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


def unpack(coding: str, *pieces: bytes) -> bytes:
    unpacking = Unpacking(coding)
    parts = [part for piece in pieces for part in unpacking.add(piece)]
    unpacking.end()
    return b"".join(parts)


@given(
    st.sampled_from(sorted(PACKERS)),
    st.binary(max_size=2000),
    st.integers(1, 50),
    st.integers(1, 40),
)
def test_a_body_is_the_same_again_however_it_is_cut(
    coding: str, body: bytes, times: int, cut: int
) -> None:
    packed = PACKERS[coding](body * times)
    pieces = [packed[at : at + cut] for at in range(0, len(packed), cut)]
    assert unpack(coding, *pieces) == body * times


def test_a_piece_that_grows_a_thousandfold_comes_in_small_ones() -> None:
    parts = list(Unpacking("gzip").add(gzip.compress(bytes(10_000_000))))
    assert max(map(len, parts)) <= 64 * 1024
    assert sum(map(len, parts)) == 10_000_000


def test_several_members_are_one_body() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    assert unpack("gzip", packed) == b"one two"
    assert unpack("gzip", packed[:24], packed[24:]) == b"one two"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_is_cut_short_is_not_taken_for_whole(coding: str) -> None:
    with pytest.raises(ValueError, match="cut short"):
        unpack(coding, PACKERS[coding](b"text" * 100)[:-3])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_is_not_packed_as_said_is_refused(coding: str) -> None:
    with pytest.raises(ValueError, match="packed wrongly"):
        unpack(coding, b"this is plain text")


def test_what_stands_behind_the_end_has_to_be_packed_too() -> None:
    with pytest.raises(ValueError, match="packed wrongly"):
        unpack("gzip", gzip.compress(b"text") + b"and more")


@pytest.mark.parametrize("coding", sorted(PACKERS))
def test_nothing_at_all_is_an_empty_body(coding: str) -> None:
    assert unpack(coding) == b""
