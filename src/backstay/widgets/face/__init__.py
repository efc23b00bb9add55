"""What a user sees of a widget: one page, the bridge to its host, ready templates.

No Node is needed: pages are plain HTML, and what they stand on lies beside this file and is put
in when a page is composed. Nothing is read at import.
"""

from backstay.widgets.face.page import TEMPLATES, compose, policy, template

__all__ = ["TEMPLATES", "compose", "policy", "template"]
