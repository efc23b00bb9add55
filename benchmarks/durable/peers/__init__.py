"""The peers, one module and one list of pinned packages each."""
