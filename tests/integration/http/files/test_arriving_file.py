"""A file is in its place whole or not at all, whatever ends the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.integration.http.files.arriving_file import ArrivingFile


@pytest.fixture(params=["without a name", "with a name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "with a name":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


def arriving(place: Path, data: bytes = b"whole") -> ArrivingFile:
    file = ArrivingFile(place)
    file.open()
    file.write(data)
    return file


@pytest.mark.usefixtures("way")
def test_it_is_not_there_before_it_is_put_in_its_place(tmp_path: Path) -> None:
    file = arriving(tmp_path / "report.csv")
    assert not (tmp_path / "report.csv").exists()
    file.put_in_place()
    file.close()
    assert (tmp_path / "report.csv").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["report.csv"]


@pytest.mark.usefixtures("way")
def test_it_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text("old")
    file = arriving(tmp_path / "report.csv")
    assert (tmp_path / "report.csv").read_text() == "old"
    file.put_in_place()
    file.close()
    assert (tmp_path / "report.csv").read_text() == "whole"
    assert os.listdir(tmp_path) == ["report.csv"]


@pytest.mark.usefixtures("way")
def test_nothing_is_left_of_one_that_is_closed_before(tmp_path: Path) -> None:
    file = arriving(tmp_path / "report.csv")
    file.close()
    file.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("way")
def test_nothing_is_left_where_it_cannot_be_put_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    file = arriving(tmp_path / "taken")
    with pytest.raises(OSError, match="taken"):
        file.put_in_place()
    file.close()
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.usefixtures("way")
def test_it_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    file = arriving(tmp_path / "report.csv")
    file.put_in_place()
    file.close()
    assert (tmp_path / "report.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.usefixtures("way")
def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    file = ArrivingFile(tmp_path / "nowhere" / "report.csv")
    with pytest.raises(FileNotFoundError):
        file.open()
    file.close()


def test_it_knows_its_size_and_checksum(tmp_path: Path) -> None:
    file = arriving(tmp_path / "report.csv", b"ab")
    file.write(b"c")
    assert file.size_bytes == 3
    assert file.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    file.close()


def test_a_long_name_leaves_room_for_the_hidden_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    place = tmp_path / ("ü" * 125)
    file = arriving(place)
    file.put_in_place()
    file.close()
    assert place.read_bytes() == b"whole"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files have names on this system")
def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from backstay.integration.http.files.arriving_file import ArrivingFile\n"
        "file = ArrivingFile(Path(sys.argv[1])); file.open(); file.write(b'x' * 100_000)\n"
        "print('writing', flush=True); time.sleep(600)"
    )
    place = tmp_path / "report.csv"
    with subprocess.Popen(
        [sys.executable, "-c", program, place], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path) == []
