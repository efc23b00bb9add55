"""A service as fastapi-accelerator's documentation has people write one, import roots changed.

Its modules are imported afresh for each test: like its original, it reads its settings and makes
its manager when it is imported.
"""
