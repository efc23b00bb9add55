"""``make bench-widgets``: what a tool call costs the server, beside the bare SDK and fastmcp.

::

    sides      the servers: one tool each, mounted in FastAPI at /mcp
    peers      fastmcp's environment, which is its own
    calls      a raw keep-alive connection that calls the tool
    state      benchmarks.state: what ctx.state costs
    __main__   turns, in one run, and the table
"""
