"""Answers that are kept as HTTP allows it (RFC 9111), on hishel."""

__all__: list[str] = []
