"""Errors of clients are known by where they come from."""

import httpx
import httpx2
import pytest

from backstay.integration.http.client_errors import is_of_client, is_time_out


@pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_those_of_both_libraries_are_known(client: object) -> None:
    broken = client.ConnectError("no")  # type: ignore[attr-defined]  # one of the two
    late = client.ReadTimeout("late")  # type: ignore[attr-defined]  # as above
    assert (is_of_client(broken), is_time_out(broken)) == (True, False)
    assert (is_of_client(late), is_time_out(late)) == (True, True)


def test_others_are_not() -> None:
    assert not is_of_client(OSError())
    assert not is_time_out(TimeoutError())
