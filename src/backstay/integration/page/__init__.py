"""The page about an app's integrations: what is declared, and how it goes right now.

Holds the document, which is JSON, and what shows it to browsers. May know the declarations and the
patterns; nothing of the app but its routes.
"""

from backstay.integration.page.document import document
from backstay.integration.page.installation import add_docintegration

__all__ = ["add_docintegration", "document"]
