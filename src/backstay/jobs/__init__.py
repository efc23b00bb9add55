"""Durable tasks: definitions, handles, sessions they are written with, workers that run them.

May know FastAPI, ``backstay.db``, ``backstay.web``, ``backstay.ledger`` and the ground. Its public
names are those of ``backstay.tasks``.
"""

__all__: list[str] = []
