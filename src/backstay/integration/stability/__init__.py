"""The stability patterns: what keeps a service standing while one that it calls does not.

Knows no HTTP client, only what answers and errors of the usual ones have in common, and no declared
integration: what patterns must know of one is in ``backstay.integration.outgoing``.
"""

__all__: list[str] = []
