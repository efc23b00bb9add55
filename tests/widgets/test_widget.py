"""What a widget has without saying anything."""

import pytest

from backstay.widgets import BaseWidget


class Small(BaseWidget):
    """A widget that says as little as it can."""

    identifier = "small"
    title = "Small"


def test_a_widget_needs_a_name_and_a_title_and_everything_else_has_a_default() -> None:
    assert not hasattr(BaseWidget, "identifier")
    assert not hasattr(BaseWidget, "title")
    widget = Small()
    assert (widget.input_schema, widget.output_schema, widget.html, widget.template) == (None,) * 4
    assert (widget.widget_csp, widget.supported_locales, widget.timeout) == (None,) * 3
    assert widget.visibility == ("model", "app")
    assert widget.widget_accessible is True
    assert widget.max_file_bytes == 10 * 1024 * 1024


def test_every_attribute_is_documented() -> None:
    told = BaseWidget.__doc__ or ""
    for name in BaseWidget.__annotations__:
        assert f"\n        {name}:" in told, name


def test_a_widget_without_execute_says_what_to_write() -> None:
    with pytest.raises(NotImplementedError, match=r"Small has no execute\(self, inputs, ctx\)"):
        Small().execute(None)
