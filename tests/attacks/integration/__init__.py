"""Attacks on calls to other services: by those who are called, and by those who have them called."""
