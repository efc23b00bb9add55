"""``python -m examples.shop``: the shop under uvicorn, its log as JSON lines on standard error.

It serves HTTP and leaves the durable jobs to ``python -m backstay worker examples.shop.app:app``,
unless the setting ``WORKER`` says otherwise.
"""

from __future__ import annotations

import argparse
import os
import socket

import uvicorn

from examples.shop.app import create_app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.shop")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="listen on this inherited socket instead")
    options = parser.parse_args()
    worker = os.environ.get("WORKER", "0")
    config = uvicorn.Config(
        create_app({"WORKER": worker}, json_logs=True),
        port=options.port,
        log_config=None,  # uvicorn leaves logging as create_app set it up
        # Who is counted is the peer: uvicorn believes whatever this machine says of others.
        proxy_headers=False,
        server_header=False,
    )
    sockets = None if options.fd is None else [socket.socket(fileno=options.fd)]
    uvicorn.Server(config).run(sockets)


if __name__ == "__main__":
    main()
