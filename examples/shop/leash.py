"""``python -m examples.shop.leash MODULE ARGUMENTS``: ``python -m MODULE``, ended with its parent."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """Ask this process to stop when its standard input ends.

    A parent that holds the other end need not live to say goodbye: if it is killed, its
    children still go.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="leash", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
