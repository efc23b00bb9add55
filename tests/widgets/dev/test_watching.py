"""Changed files are found and told apart by what has to be done for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backstay.widgets.dev.watching import Changes, Watch


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_nothing_has_changed_at_first(tmp_path: Path) -> None:
    write(tmp_path / "app.py")
    assert not Watch(tmp_path).look()


def test_new_changed_and_removed_files_are_told_once_each(tmp_path: Path) -> None:
    old, gone = write(tmp_path / "shop" / "old.py", "1"), write(tmp_path / "gone.py")
    watch = Watch(tmp_path)
    new = write(tmp_path / "new.py")
    write(old, "12")
    gone.unlink()
    assert watch.look().code == {old, new, gone}
    assert not watch.look()


def test_a_file_of_the_same_size_written_again_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "app.py", "1")
    watch = Watch(tmp_path)
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))
    assert watch.look().code == {path}


def test_code_pages_and_faces_are_told_apart(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    code, env = write(tmp_path / "app.py"), write(tmp_path / ".env")
    page, face = write(tmp_path / "a.html"), write(tmp_path / "w" / "index.jsx")
    write(tmp_path / "notes.txt")
    assert watch.look() == Changes(frozenset({code, env}), frozenset({page}), frozenset({face}))


@pytest.mark.parametrize("folder", [".git", "node_modules", "__pycache__", "lib/site-packages"])
def test_folders_of_others_are_left_out(tmp_path: Path, folder: str) -> None:
    watch = Watch(tmp_path)
    write(tmp_path / folder / "x.py")
    assert not watch.look()


def test_virtual_environments_are_left_out_by_whatever_name(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    write(tmp_path / "my env" / "pyvenv.cfg")
    write(tmp_path / "my env" / "lib" / "x.py")
    assert not watch.look()


def test_a_link_to_the_folder_itself_is_no_endless_loop(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    watch = Watch(tmp_path)
    path = write(tmp_path / "app.py")
    assert watch.look().code == {path}
