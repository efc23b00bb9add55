"""From noisy samples to an estimate and how far to trust it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["ROOT", "Estimate", "Unavailable", "estimate", "run_fresh"]

ROOT = Path(__file__).resolve().parent.parent

_DRAWS = 2_000


class Unavailable(Exception):
    """A benchmark cannot run here; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and its 95 % interval."""

    value: float
    low: float
    high: float


def estimate(groups: Sequence[Sequence[float]]) -> Estimate:
    """The median of all samples, with a 95 % bootstrap interval.

    Two processes that run the same code differ by a few per cent for as long as they live (memory
    layout, hash seeds), so samples of one process are no independent evidence: whole groups are
    drawn again, not single samples.

    Args:
        groups: the samples, those that came from the same process together.
    """
    chance = random.Random(0)  # the same samples always give the same interval
    drawn = sorted(
        median(sample for group in chance.choices(groups, k=len(groups)) for sample in group)
        for _ in range(_DRAWS)
    )
    edge = round(0.025 * _DRAWS)
    return Estimate(
        median(sample for group in groups for sample in group), drawn[edge], drawn[-edge - 1]
    )


def run_fresh(module: str, *arguments: object, hash_seed: int = 0) -> Any:
    """Run ``python -m module arguments`` in a new interpreter; return the JSON it printed.

    Args:
        module: one of this package.
        arguments: passed on as strings.
        hash_seed: sides that are compared get the same one, repetitions different ones.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}")
    return json.loads(done.stdout)
