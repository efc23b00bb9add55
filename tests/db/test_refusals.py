"""What clients are told of refusals, and what programmers are told besides."""

from __future__ import annotations

import pytest

from backstay.db.refusals import (
    BadNested,
    ChangedMeanwhile,
    ForeignChild,
    NestedError,
    SeveralRows,
    SharedRow,
    UnknownRelated,
)
from backstay.errors import DataError


@pytest.mark.parametrize("kind", [BadNested, ForeignChild, UnknownRelated, SharedRow])
def test_a_refusal_says_where_and_keeps_its_hint_from_clients(kind: type[NestedError]) -> None:
    error = kind("is wrong", ("lines", 0, "id"), hint="It has a secret column")
    assert str(error) == "lines.0.id: is wrong. It has a secret column"
    assert error.public_detail == "lines.0.id: is wrong"
    assert (error.message, error.loc) == ("is wrong", ("lines", 0, "id"))
    assert str(kind("is wrong")) == kind("is wrong").public_detail == "is wrong"
    assert isinstance(error, DataError)
    assert isinstance(error, ValueError)


def test_conflicts_and_bad_data_are_told_apart() -> None:
    assert [each.status for each in (ForeignChild, ChangedMeanwhile)] == [409, 409]
    assert [each.status for each in (BadNested, UnknownRelated, SharedRow)] == [422] * 3
    assert SeveralRows.status == 500
