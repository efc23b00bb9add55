"""The path as routes see it."""

import pytest

from backstay.web.request_path import path_below_root


@pytest.mark.parametrize(
    ("path", "root_path", "below"),
    [
        ("/livez", "", "/livez"),
        ("/api/livez", "/api", "/livez"),
        ("/livez", "/api", "/livez"),
        ("/apiary/livez", "/api", "/apiary/livez"),
        ("/api", "/api", "/api"),
        ("//livez", "", "//livez"),
        ("/api//livez", "/api", "//livez"),
        ("/x/../livez", "", "/x/../livez"),
    ],
)
def test_it_is_what_comes_after_the_root(path: str, root_path: str, below: str) -> None:
    assert path_below_root({"path": path, "root_path": root_path}) == below
