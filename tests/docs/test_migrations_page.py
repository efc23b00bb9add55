"""The page about migrations is done from top to bottom: its files are written, its commands run."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

from backstay.db.migration_files import FILE_TEMPLATE
from tests.docs.test_snippets import ROOT

BLOCK = re.compile(r"^```(py|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = ROOT / "docs" / "migrations.md"
START = """
import asyncio
from app.main import app

async def start():
    async with app.router.lifespan_context(app):
        pass

asyncio.run(start())
"""


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def tables(folder: Path) -> set[str]:
    connection = sqlite3.connect(folder / "shop.db")
    try:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()


def test_the_page_holds_what_it_promises(tmp_path: Path) -> None:
    said: dict[str, str] = {}
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "py":
            name, _, code = text.partition("\n")
            file = tmp_path / name.removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line.removeprefix("$ "))
            assert program in {"backstay", "alembic"}
            said[line] = run(tmp_path, "-m", program, *words)
    assert "alembic/versions/20" in said['$ backstay db revision -m "products"']
    assert "CREATE TABLE products" in said["$ backstay db upgrade --sql"]
    assert "no revision was written" in " ".join(said.values())
    assert len(list((tmp_path / "alembic" / "versions").glob("*.py"))) == 1
    assert "products" in tables(tmp_path)
    (tmp_path / "shop.db").unlink()
    run(tmp_path, "-c", START)
    assert "products" in tables(tmp_path)


def test_the_line_for_names_is_the_one_that_is_written() -> None:
    assert f"file_template = {FILE_TEMPLATE}" in PAGE.read_text()
