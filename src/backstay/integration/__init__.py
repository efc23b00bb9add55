"""Calls to other services.

Holds the stability patterns, ``sp``: decorators that keep a service standing while one that it
calls does not. May know the ground and nothing else; knows no HTTP client, only what answers and
errors of the usual ones have in common.
"""

from backstay.integration import sp

__all__ = ["sp"]
