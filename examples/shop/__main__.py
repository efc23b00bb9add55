"""``python -m examples.shop``: the shop under uvicorn, its log as JSON lines on standard error."""

from __future__ import annotations

import argparse

import uvicorn

from examples.shop.app import create_app
from examples.shop.processes import end_with_parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.shop")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--leash", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    if options.leash:
        end_with_parent()
    # log_config=None: uvicorn leaves logging as create_app set it up.
    uvicorn.run(create_app(json_logs=True), port=options.port, log_config=None)


if __name__ == "__main__":
    main()
