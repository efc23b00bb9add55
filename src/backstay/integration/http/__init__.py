"""Declared integrations over HTTP: what is called, how, and what it answers.

A declaration is a class whose methods are endpoints of another service; an instance of it knows where
that service is and who calls it, and has one pool of connections. Knows no page and no tests.
"""

__all__: list[str] = []
