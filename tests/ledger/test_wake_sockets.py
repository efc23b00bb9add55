"""Processes wake each other, or do quietly without."""

import contextlib
import os
import selectors
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.ledger.wake_sockets import WakeSockets, directory_for
from tests.support import PATIENCE_S

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "wake")


@pytest.fixture
def pair(directory: str) -> Iterator[tuple[WakeSockets, WakeSockets]]:
    one, other = WakeSockets(directory), WakeSockets(directory)
    yield one, other
    one.close()
    other.close()


def heard(sockets: WakeSockets, receiver: socket.socket | None) -> int:
    """What arrives, waiting for it."""
    assert receiver is not None
    with selectors.DefaultSelector() as selector:
        selector.register(receiver, selectors.EVENT_READ)
        assert selector.select(PATIENCE_S), "nothing came"
    return sockets.received()


def test_the_directory_is_beside_the_database(tmp_path: Path) -> None:
    near = Path("/srv/jobs.db")
    assert directory_for(str(near)) == "/srv/.jobs.db-wake"


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_one() -> None:
    long = directory_for("/srv/" + "x" * 120 + "/jobs.db")
    assert len(long) < 80
    assert long != directory_for("/srv/" + "y" * 120 + "/jobs.db")


def test_all_names_of_one_file_mean_one_directory(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "jobs.db")
    assert directory_for(str(tmp_path / "link.db")) == directory_for(str(tmp_path / "jobs.db"))


def test_what_is_told_is_heard_by_others_and_not_by_oneself(
    pair: tuple[WakeSockets, WakeSockets],
) -> None:
    one, other = pair
    own, receiver = one.listen(), other.listen()
    assert own is not None
    one.tell(2)
    assert heard(other, receiver) == 2
    assert one.received() == 0
    assert other.received() == 0


def test_those_who_come_later_are_found(pair: tuple[WakeSockets, WakeSockets]) -> None:
    one, other = pair
    one.listen()
    one.tell(1)
    receiver = other.listen()
    # Within the pause after the first, so that it is sent at its end or not at all.
    while True:
        one.tell(1)
        if other.received():
            break
    assert receiver is not None


def test_only_the_owner_may_look_into_the_directory(
    pair: tuple[WakeSockets, WakeSockets], directory: str
) -> None:
    pair[0].listen()
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700


def test_a_flood_is_sent_as_a_few_and_its_last_is_never_lost(directory: str) -> None:
    one, other = WakeSockets(directory, interval_s=0.05), WakeSockets(directory)
    receiver = other.listen()
    one.tell(1)
    assert heard(other, receiver) == 1
    threads = [threading.Thread(target=one.tell, args=(1,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    one.tell(2)
    for thread in threads:
        thread.join()
    wakes = 0
    datagrams = 0
    while not wakes & 2:
        wakes |= heard(other, receiver)
        datagrams += 1
    assert datagrams <= 20
    one.close()
    other.close()


def test_what_is_left_is_sent_at_the_end(directory: str) -> None:
    one, other = WakeSockets(directory, interval_s=3600), WakeSockets(directory)
    receiver = other.listen()
    one.tell(1)
    one.tell(2)
    assert heard(other, receiver) == 1
    one.close()
    assert heard(other, receiver) == 2
    other.close()


def test_the_dead_are_removed(pair: tuple[WakeSockets, WakeSockets], directory: str) -> None:
    one, other = pair
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver = other.listen()
    dead.bind(os.path.join(directory, "1-dead"))
    dead.close()  # and its file stays
    one.tell(1)
    assert heard(other, receiver) == 1
    assert len(os.listdir(directory)) == 1


def test_a_receiver_that_does_not_read_holds_nobody_up(
    pair: tuple[WakeSockets, WakeSockets], directory: str
) -> None:
    one, other = pair
    receiver = other.listen()
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    full.setblocking(False)
    assert receiver is not None
    path = receiver.getsockname().replace("/.", "/")
    with contextlib.suppress(BlockingIOError):
        while True:
            full.sendto(b"\1", path)
    full.close()
    one.tell(2)
    assert other.received() == 1


def test_the_last_to_leave_removes_the_directory(directory: str) -> None:
    one, other = WakeSockets(directory), WakeSockets(directory)
    one.listen()
    other.listen()
    one.deafen()
    assert os.path.isdir(directory)
    other.deafen()
    assert not os.path.exists(directory)
    one.tell(1)  # to nobody
    one.close()
    one.close()


def test_where_sockets_cannot_be_it_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sockets = WakeSockets(str(tmp_path / "file"))
    assert sockets.listen() is None
    sockets.tell(1)
    sockets.close()
    too_long = WakeSockets(str(tmp_path / ("x" * 200)))
    assert too_long.listen() is None
    too_long.close()
