"""What several processes know in common: circuits and buckets, in a database or in Redis.

Stands beside the patterns' own circuit and bucket, which it extends, and below the patterns. Knows
no functions, only names; no process ever waits for long for a store, or fails because of one.
"""

from backstay.integration.stability.shared.opening import open_shared_states
from backstay.integration.stability.shared.port import SharedStore
from backstay.integration.stability.shared.shared_states import SharedStates

__all__ = ["SharedStates", "SharedStore", "open_shared_states"]
