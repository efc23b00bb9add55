"""Which folders are React faces, and which names are refused."""

from pathlib import Path

import pytest

from backstay.errors import BadWidget
from backstay.widgets.build.component import find_components


def face(folder: Path, name: str, file: str = "index.jsx") -> Path:
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    (home / file).write_text("export default () => null;")
    return home / file


def test_faces_are_found_sorted_by_name_in_both_languages(tmp_path: Path) -> None:
    face(tmp_path, "map", "index.tsx")
    face(tmp_path, "board")
    (tmp_path / "plain").mkdir()
    (tmp_path / "notes.txt").write_text("")
    found = find_components(tmp_path)
    assert [each.identifier for each in found] == ["board", "map"]
    assert found[1].entry == tmp_path / "map" / "index.tsx"
    assert found[1].page == tmp_path / "map" / "dist" / "index.html"


@pytest.mark.parametrize("name", [".git", "_shared", "node_modules"])
def test_folders_that_are_no_widgets_are_left_out(tmp_path: Path, name: str) -> None:
    face(tmp_path, name)
    assert find_components(tmp_path) == []


def test_sources_are_all_files_but_what_was_built_or_installed(tmp_path: Path) -> None:
    entry = face(tmp_path, "board")
    (entry.parent / "style.css").write_text("")
    for name in ("dist", "node_modules"):
        (entry.parent / name).mkdir()
        (entry.parent / name / "index.html").write_text("")
    (component,) = find_components(tmp_path)
    assert component.sources == {entry, entry.parent / "style.css"}


def test_both_languages_in_one_folder_are_refused(tmp_path: Path) -> None:
    face(tmp_path, "board")
    face(tmp_path, "board", "index.tsx")
    with pytest.raises(BadWidget, match="both index.jsx and index.tsx"):
        find_components(tmp_path)


def test_a_name_that_no_widget_can_have_is_refused(tmp_path: Path) -> None:
    face(tmp_path, "my board")
    with pytest.raises(BadWidget, match="letters, digits"):
        find_components(tmp_path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadWidget, match="there is no folder"):
        find_components(tmp_path / "nowhere")


def test_only_those_wanted_are_given_and_a_missing_one_is_named(tmp_path: Path) -> None:
    face(tmp_path, "board")
    face(tmp_path, "map")
    assert [each.identifier for each in find_components(tmp_path, ["map"])] == ["map"]
    with pytest.raises(BadWidget, match="no React face 'chart'; there are: board, map"):
        find_components(tmp_path, ["chart"])
