"""Values that outlive the piece of work that stored them: ``ctx.state``.

``add_state(app)`` switches it on. May import the ledger, whose connections it shares, and what is
below; knows nothing of widgets, tasks or jobs. A back end stands behind ``StateStore`` and proves
itself with ``backstay.testing.state_conformance``.
"""

from backstay.state.installation import add_state
from backstay.state.opening import new_store, open_store
from backstay.state.part import StatePart
from backstay.state.port import StateStore
from backstay.state.state import State

__all__ = ["State", "StatePart", "StateStore", "add_state", "new_store", "open_store"]
