"""Which language to speak, of those a widget has."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["negotiate"]


def negotiate(asked: str | None, supported: Sequence[str] | None, default: str) -> str:
    """The best of ``supported`` for what was asked, by RFC 4647 §3.4 (lookup).

    Args:
        asked: a BCP 47 language tag, ``None`` if the client did not say.
        supported: what there is, ``None`` for whatever is asked.
        default: spoken if nothing fits.

    Returns:
        One of ``supported`` as it is written there, or ``default``. Without ``supported``, what was
        asked. After the standard's lookup has failed, a region of the same language is better than
        another language: ``fr-CA`` for ``fr`` and ``fr-CH``.
    """
    if not asked:
        return default
    if supported is None:
        return asked
    known = {each.lower().replace("_", "-"): each for each in supported}
    parts = asked.lower().replace("_", "-").split("-")
    while parts:
        if found := known.get("-".join(parts)):
            return found
        parts.pop()
        if parts and len(parts[-1]) == 1:
            parts.pop()  # the singleton in front of an extension says nothing alone
    language = asked.lower().replace("_", "-").split("-")[0]
    for tag, written in known.items():
        if tag.split("-")[0] == language:
            return written
    return default
