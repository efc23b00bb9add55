"""Events of open sessions, kept so that clients can resume a stream (MCP 2025-11-25)."""

from __future__ import annotations

from collections import OrderedDict, deque

from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp_types import JSONRPCMessage

__all__ = ["MemoryEventStore"]


class MemoryEventStore(EventStore):
    """Keeps the latest events of one session, in this process, where the session lives as well.

    One for each session: the SDK calls a stream by the id of its request, and every client counts
    from one.

    Args:
        per_stream: events kept of one stream.
        streams: streams remembered; the one longest without an event is forgotten first.
    """

    def __init__(self, *, per_stream: int = 100, streams: int = 32) -> None:
        self._per_stream = per_stream
        self._most = streams
        self._streams: OrderedDict[StreamId, deque[tuple[int, JSONRPCMessage | None]]] = (
            OrderedDict()
        )
        self._next = 1

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        """Keep an event; ``None`` marks the beginning of a stream.

        An event's id is its number and its stream, so that whoever names one names both.
        """
        number = self._next
        self._next += 1
        events = self._streams.get(stream_id)
        if events is None:
            events = self._streams[stream_id] = deque(maxlen=self._per_stream)
            if len(self._streams) > self._most:
                self._streams.popitem(last=False)
        self._streams.move_to_end(stream_id)
        events.append((number, message))
        return f"{number}.{stream_id}"

    async def replay_events_after(
        self, last_event_id: EventId, send_callback: EventCallback
    ) -> StreamId | None:
        """Send again what came after an event; the stream it belongs to.

        Returns:
            ``None`` if the event is not known.
        """
        number, _, stream_id = last_event_id.partition(".")
        events = self._streams.get(stream_id)
        if events is None or not (number.isdecimal() and len(number) < 20):
            return None
        last = int(number)
        for each, message in list(events):
            if each > last and message is not None:
                await send_callback(EventMessage(message, f"{each}.{stream_id}"))
        return stream_id
