"""Calls that run in the background as durable jobs."""
