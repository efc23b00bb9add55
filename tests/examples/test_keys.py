"""``python -m examples.shop.keys``, beside a shop that is running."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from examples.shop.processes import ROOT
from tests.examples.town import shop_alone
from tests.support import async_test


def run(database: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.shop.keys", *arguments],
        cwd=ROOT,
        env={"DATABASE": str(database), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@async_test
async def test_a_key_is_shown_once_opens_the_warehouse_and_can_be_revoked(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, WORKER="0") as here:
        made = run(here.database, "create", "gate\x1b[31m 2", "--scope", "warehouse", "--days", "9")
        assert made.returncode == 0, made.stderr
        key = made.stdout.strip()
        key_id = key.split("_")[1]
        assert key_id in made.stderr
        assert key not in made.stderr
        headers = {"X-API-Key": key}
        assert (await here.shop.get("/warehouse/orders", headers=headers)).status_code == 200

        listed = run(here.database, "list").stdout
        assert key not in listed
        assert key_id in listed
        assert "counts until" in listed
        assert "\x1b" not in listed
        assert not any(key.encode() in each.read_bytes() for each in tmp_path.glob("shop.db*"))

        gone = run(here.database, "revoke", key_id)
        assert gone.returncode == 0, gone.stderr
        assert run(here.database, "revoke", key_id).returncode == 1
        assert "revoked" in run(here.database, "list").stdout
        # This process has asked a moment ago, and believes its answer for a second at most.
        while (answer := await here.shop.get("/warehouse/orders", headers=headers)).is_success:
            await asyncio.sleep(0.05)
        assert answer.status_code == 401


def test_a_key_without_a_scope_or_with_another_one_is_not_made(tmp_path: Path) -> None:
    for arguments in (["create", "x"], ["create", "x", "--scope", "customers"]):
        refused = run(tmp_path / "shop.db", *arguments)
        assert refused.returncode == 2
        assert refused.stdout == ""
