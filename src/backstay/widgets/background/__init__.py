"""Long calls as MCP tasks: run as durable jobs, asked about from any process.

``task_support = "optional"`` or ``"required"`` on a widget lets clients have it run in the
background. The call is written as a job of ``backstay.tasks``; a worker of the same app runs it,
and it survives what jobs survive. May know ``backstay.tasks`` and ``backstay.jobs``, what a call is
made of, and nothing of the server that offers it.

Two forms of the protocol: tasks of the core (MCP 2025-11-25), where the client asks for one with
``task``, and the extension ``io.modelcontextprotocol/tasks`` (2026-07-28), where a client says that
it knows them and the server decides. Loaded when a widget supports tasks, not before.
"""

__all__: list[str] = []
