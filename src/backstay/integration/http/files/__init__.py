"""Answers that become files, whole or not at all."""

__all__: list[str] = []
