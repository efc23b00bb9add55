"""How requests say who they are from, for httpx and httpx2 alike.

Secrets are in no ``repr``, log or error, and go to no other origin than the integration's.
"""

__all__: list[str] = []
