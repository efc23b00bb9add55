"""What tests of test utilities need around each of them."""

import pytest

from backstay.testing.setting import SettingTest


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of one test are none of another's."""
    monkeypatch.setattr(SettingTest, "instance", None)
