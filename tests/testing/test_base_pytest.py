"""The hooks of a test class come under the names people know, each at its time."""

from typing import ClassVar

import pytest

from backstay.testing.base_pytest import BasePytest


class TestHooks(BasePytest):
    seen: ClassVar[list[str]] = []

    @classmethod
    def setUpClass(cls) -> None:
        cls.seen.append("setUpClass")

    def setUp(self) -> None:
        self.seen.append("setUp")
        self.mine: list[int] = []

    def tearDown(self) -> None:
        self.seen.append("tearDown")

    @classmethod
    def tearDownClass(cls) -> None:
        assert cls.seen == ["setUpClass", *["setUp", "tearDown"] * 3]
        cls.seen.clear()

    @pytest.mark.parametrize("time", [1, 2])
    def test_each_test_has_an_object_of_its_own(self, time: int, tmp_path: object) -> None:
        assert self.mine == []
        self.mine.append(time)
        assert tmp_path

    def test_there_is_somebody_who_logs_in(self) -> None:
        assert self.TEST_USER["username"] == "test"


class TestNoHooks(BasePytest):
    def test_none_has_to_be_written(self) -> None:
        assert isinstance(self, BasePytest)
