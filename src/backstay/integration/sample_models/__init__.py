"""Pydantic models from samples of what another service answers.

Holds ``py2dantic`` and what it is made of, from the samples up to the module: ``samples`` reads
them, ``shape`` remembers what was seen where, ``plan`` decides which models say that, ``source``
writes them by datamodel-code-generator and looks at what it wrote. Stands alone: knows nothing of
integrations, and nothing here runs in a service.
"""

from backstay.integration.sample_models.generation import py2dantic
from backstay.integration.sample_models.outline import generate_pydantic_models

__all__ = ["generate_pydantic_models", "py2dantic"]
