"""Whole services as people build them, against real files and real servers on 127.0.0.1."""
