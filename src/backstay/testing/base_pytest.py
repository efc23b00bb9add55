"""``BasePytest``: test classes with ``setUp`` and ``tearDown``."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["BasePytest"]


class BasePytest:
    """A class of tests that share what they need, each with an object of its own.

    Derive from it, call the class ``Test…``, and write the hooks you need under these names,
    which pytest calls at the right times. Unlike ``unittest.TestCase`` it leaves the methods free
    to ask for fixtures.

    Attributes:
        TEST_USER: who logs in, where tests do.
    """

    TEST_USER: ClassVar[dict[str, str]] = {"username": "test", "password": "qwerty"}

    def setup_method(self, method: Any = None) -> None:
        """Pytest's hook; calls ``setUp``."""
        self.setUp()

    def setUp(self) -> None:  # the name people know
        """Before each test. What it writes to the database is undone with the test."""

    def teardown_method(self, method: Any = None) -> None:
        """Pytest's hook; calls ``tearDown``."""
        self.tearDown()

    def tearDown(self) -> None:  # the name people know
        """After each test, failed ones too."""

    @classmethod
    def setup_class(cls) -> None:
        """Pytest's hook; calls ``setUpClass``."""
        cls.setUpClass()

    @classmethod
    def setUpClass(cls) -> None:  # the name people know
        """Before the first test of the class. The database does not belong to a test yet."""

    @classmethod
    def teardown_class(cls) -> None:
        """Pytest's hook; calls ``tearDownClass``."""
        cls.tearDownClass()

    @classmethod
    def tearDownClass(cls) -> None:  # the name people know
        """After the last test of the class."""
