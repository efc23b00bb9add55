"""What is said of hosts that files are not fetched from."""

from __future__ import annotations

import pytest

from backstay.widgets.addresses import find_addresses
from backstay.widgets.file_refusal import FileRefused
from tests.support import async_test
from tests.widgets.file_server import Names


@async_test
async def test_a_host_that_is_good_has_its_addresses() -> None:
    names = Names(files_test=["1.1.1.1", "2606:4700::1111"])
    found = await find_addresses("files.test", 443, allow_private=False, lookup=names)
    assert [str(each) for each in found] == ["1.1.1.1", "2606:4700::1111"]


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("a b", "'a b' is no host; give the file's address as https://host/path"),
        ("a." * 130, "is no host; give"),
        ("0x7f.1", "the host '0x7f.1' is a number that is no plain IPv4 address; give the host's"),
        ("nowhere.test", "the file's host 'nowhere.test' has no address; give the address of one"),
        ("inner.test", "the file's host 'inner.test' leads to a private address, from where"),
        ("127.0.0.1", "the file's host '127.0.0.1' leads to a loopback address, from where"),
    ],
)
@async_test
async def test_a_refusal_speaks_of_the_file_and_says_what_to_do(host: str, told: str) -> None:
    names = Names(inner_test=["1.1.1.1", "10.0.0.1"])
    with pytest.raises(FileRefused) as refused:
        await find_addresses(host, 443, allow_private=False, lookup=names)
    assert told in str(refused.value)
    assert "10.0.0.1" not in str(refused.value), "what a name leads to inside is told to nobody"
