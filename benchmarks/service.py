"""What guarding a service costs: CPU time of a request, under uvicorn, uvloop, httptools and wrk;
and of one token that is verified, in a loop.

How requests are measured: ``benchmarks.side_by_side``. ``python -m benchmarks.service ROUNDS SEED``
is one fresh process that verifies tokens.
"""

from __future__ import annotations

import asyncio
import json
import operator
import sys
import time
from dataclasses import asdict
from typing import Any

import joserfc.jwt
from joserfc.jwk import OctKey

from backstay.testing import running
from benchmarks.report import interval, print_table, verdict
from benchmarks.sampling import Estimate, estimate, run_fresh
from benchmarks.service_apps import SECRET_KEY, SERVICE_APPS, guarded
from benchmarks.side_by_side import CONNECTIONS, PLAIN, Samples, compare, measure, pairwise
from benchmarks.sizes import Size

__all__ = ["run"]

GUARDED, UNGUARDED = "base_pattern, jwt_auth", "base_pattern, a dependency"
BY_HAND = "the usual middlewares by hand"
GOAL_RATIO = 1.08
GOAL_TOKEN_US = 120.0
TOKENS = 500
"""Verified in one turn."""


def run(size: Size) -> dict[str, Any]:
    """Measure, print the tables, return what to keep."""
    headers = {
        "base_pattern, asked by another site's page": ["Origin: https://app.example"],
        GUARDED: [f"Authorization: Bearer {asyncio.run(_token())}"],
    }
    samples = measure(
        list(SERVICE_APPS),
        size,
        factory="benchmarks.service_apps:app_from_environment",
        headers=headers,
    )
    results = compare(samples)
    _print_requests(samples, results, size)
    verified: dict[str, list[list[float]]] = {}
    for seed in range(size.processes):
        found = run_fresh("benchmarks.service", size.rounds, seed, hash_seed=seed)
        for name, turns in found.items():
            verified.setdefault(name, []).append(turns)
    _print_tokens(verified)
    return {"requests": results, "tokens_us": verified}


async def _token() -> str:
    app = guarded()
    async with running(app):
        grant = await app.state.auth_jwt.issue("ada")
        token: str = grant.access_token
        return token


async def _verify(rounds: int) -> dict[str, list[float]]:
    """Microseconds of CPU to verify one token: by backstay, and by joserfc alone."""
    app = guarded()
    found: dict[str, list[float]] = {"backstay": [], "joserfc by hand": []}
    async with running(app):
        auth = app.state.auth_jwt
        token = (await auth.issue("ada")).access_token
        key = OctKey.import_key(SECRET_KEY.encode())
        claims = joserfc.jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": "backstay"},
            aud={"essential": True, "value": "backstay"},
            exp={"essential": True},
            leeway=10,
        )
        for _ in range(rounds):
            began = time.process_time()
            for _ in range(TOKENS):
                assert await auth.verify_token(token) is not None
            found["backstay"].append((time.process_time() - began) / TOKENS * 1e6)
            began = time.process_time()
            for _ in range(TOKENS):
                claims.validate(joserfc.jwt.decode(token, key, algorithms=["HS256"]).claims)
            found["joserfc by hand"].append((time.process_time() - began) / TOKENS * 1e6)
    return found


def _print_requests(samples: Samples, results: dict[str, Any], size: Size) -> None:
    rows = []
    for name, result in results.items():
        if name == PLAIN[0]:
            continue
        ratio = Estimate(**result["ratio"])
        is_goal = name == "base_pattern"
        rows.append(
            (
                name,
                interval(ratio),
                interval(Estimate(**result["added_us"]), 1),
                f"{result['us']['value']:.0f}",
                f"<= {GOAL_RATIO}" if is_goal else "",
                verdict(ratio, GOAL_RATIO) if is_goal else "",
            )
        )
    usual = estimate(pairwise(operator.truediv, samples[BY_HAND], samples["base_pattern"]))
    results["by_hand_ratio"] = asdict(usual)
    guard = estimate(pairwise(operator.sub, samples[GUARDED], samples[UNGUARDED]))
    results["guard_us"] = asdict(guard)
    print_table(
        f"Server CPU per request, {CONNECTIONS} connections "
        f"({size.processes} processes x {size.wrk_rounds} rounds of 1 s)",
        ("", "ratio to plain [95 %]", "added us [95 %]", "CPU us", "goal", ""),
        rows,
        [
            f"plain: {results[PLAIN[0]]['us']['value']:.0f} us. Its second process is the noise.",
            f"the usual middlewares by hand : base_pattern: {interval(usual)}",
            f"jwt_auth, everything that FastAPI does for it included: {interval(guard, 1)} us",
        ],
    )


def _print_tokens(verified: dict[str, list[list[float]]]) -> None:
    ours, theirs = verified["backstay"], verified["joserfc by hand"]
    ratio = estimate(pairwise(operator.truediv, ours, theirs))
    found = estimate(ours)
    print_table(
        "CPU to verify one HS256 access token",
        ("", "us [95 %]", "ratio to joserfc by hand", "goal", ""),
        [
            (
                "backstay: signature, claims, revocations",
                interval(found, 1),
                interval(ratio),
                f"<= {GOAL_TOKEN_US:.0f} us",
                verdict(found, GOAL_TOKEN_US),
            ),
            ("joserfc by hand: signature, claims", interval(estimate(theirs), 1), "1", "", ""),
        ],
        [],
    )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_verify(int(sys.argv[1])))))
