"""Ids are UUIDv7, in order, and nobody guesses them."""

import threading
import time
from uuid import UUID

from backstay.ledger import new_job_id


def milliseconds_of(one: UUID) -> int:
    return one.int >> 80


def test_an_id_is_a_uuid_of_version_7() -> None:
    one = new_job_id()
    assert one.version == 7
    assert one.variant == "specified in RFC 4122"


def test_an_id_says_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    one = new_job_id()
    # Never before; a burst of more than four thousand a millisecond borrows from the future.
    assert before <= milliseconds_of(one) <= time.time_ns() // 1_000_000 + 1000


def test_ids_sort_by_when_they_were_made() -> None:
    ids = [new_job_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert [str(each) for each in ids] == sorted(str(each) for each in ids)


def test_ids_of_several_threads_differ_and_each_thread_sees_them_grow() -> None:
    made: list[list[UUID]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda ids=ids: ids.extend(new_job_id() for _ in range(2000)))
        for ids in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ids in made:
        assert ids == sorted(ids)
    assert len({each for ids in made for each in ids}) == 8000


def test_what_follows_the_time_is_chance() -> None:
    mask = (1 << 62) - 1
    chances = [new_job_id().int & mask for _ in range(1000)]
    assert len(set(chances)) == 1000
    for bit in range(62):
        ones = sum(chance >> bit & 1 for chance in chances)
        assert 300 < ones < 700  # thirteen standard deviations
