"""Browsers, hosts and judges from outside: what shows widgets, and what tests the protocol.

``bench`` finds Node, its packages and Chromium and runs them; ``browsing`` drives Chromium.
``app_bridge``, ``openai_host`` and ``mcp_use`` are hosts that show a widget. ``inspector`` and
``conformance`` judge a server by its wire. Nothing of backstay is imported here but what tests need.
"""
