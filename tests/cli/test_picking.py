"""Jobs named by the beginning of their ids."""

import pytest

from backstay.cli.picking import pick, short_id
from backstay.cli.refusal import FAILED, MISUSED, Refusal
from tests.cli.shelf import Shelf, a_job
from tests.support import async_test

NEW, OLD = a_job(2, age_s=60), a_job(1, age_s=100_000)


@async_test
async def test_a_whole_id_is_a_job() -> None:
    shelf = Shelf(NEW, OLD)
    assert await pick(shelf.ledger, str(NEW.id)) == NEW
    assert await pick(shelf.ledger, f" {NEW.id.hex.upper()} ") == NEW


@async_test
async def test_a_beginning_is_enough_if_no_other_job_has_it() -> None:
    shelf = Shelf(NEW, OLD)
    for length in (13, 18, 20, 35):
        assert await pick(shelf.ledger, str(OLD.id)[:length]) == OLD
        assert await pick(shelf.ledger, str(NEW.id)[:length]) == NEW
    assert await pick(shelf.ledger, OLD.id.hex[:8]) == OLD


@async_test
async def test_an_ambiguous_beginning_lists_the_jobs_it_could_mean() -> None:
    rows = [a_job(n) for n in range(1, 9)]
    with pytest.raises(Refusal, match="is ambiguous") as caught:
        await pick(Shelf(*rows).ledger, rows[0].id.hex[:10])
    assert str(caught.value).count("shop.mail.send_receipt") == 5
    assert str(caught.value).endswith("…")
    assert caught.value.code == MISUSED


@async_test
async def test_an_id_that_nobody_has_is_a_failure() -> None:
    for name in (str(OLD.id), OLD.id.hex[:20]):
        with pytest.raises(Refusal) as caught:
            await pick(Shelf(NEW).ledger, name)
        assert caught.value.code == FAILED


@async_test
async def test_what_is_no_id_is_refused() -> None:
    for name in ("", "xyz", "01a2d1", "0" * 33, "../etc"):
        with pytest.raises(Refusal) as caught:
            await pick(Shelf(NEW).ledger, name)
        assert caught.value.code == MISUSED


@async_test
async def test_the_short_form_that_is_shown_can_be_given_back() -> None:
    rows = [a_job(n) for n in range(1, 50)]
    shelf = Shelf(*rows)
    for row in rows:
        assert await pick(shelf.ledger, short_id(row.id)) == row
