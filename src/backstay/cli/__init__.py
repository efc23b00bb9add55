"""The command line: ``backstay worker``, ``jobs``, ``queues``, ``workers``, ``top``.

The top floor: may import everything below, and nothing imports it. Loads its third parties
only when a command is run, so that their absence is one line and not a traceback.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command in ``sys.argv``. Does not return where the command ends the process.

    Returns:
        2 if the packages of the extra ``cli`` are missing.
    """
    try:
        import rich  # noqa: F401  # whether it is there
        import typer  # noqa: F401
    except ImportError as missing:
        sys.stderr.write(
            f"backstay: the command line needs the package {missing.name!r}: "
            'pip install "backstay[cli]"\n'
        )
        return 2
    from backstay.cli.program import run

    return run()
