"""How processes on one machine wake each other: datagrams of one byte, in a directory of sockets.

Nothing is lost with a lost datagram, since workers poll as well. So everything here is allowed to
fail quietly: no Unix sockets, no right to write beside the database, a receiver whose queue is
full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
import threading
import time

__all__ = ["WakeSockets", "directory_for"]

_PATH_BYTES = 100  # what fits into a socket's address everywhere: macOS takes 104, Linux 108
_NAME_BYTES = 24


def directory_for(path: str) -> str:
    """Where the sockets for a database file are: beside it, if the path is short enough."""
    real = os.path.realpath(path)
    beside = os.path.join(os.path.dirname(real), f".{os.path.basename(real)}-wake")
    if len(os.fsencode(beside)) + 1 + _NAME_BYTES <= _PATH_BYTES:
        return beside
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return os.path.join(tempfile.gettempdir(), f"backstay-{os.getuid()}-{digest}")


class WakeSockets:
    """The sockets of one database, and perhaps one of our own among them.

    Args:
        directory: shared by all processes of the database.
        interval_s: datagrams are sent at most this often. What is told meanwhile is sent
            together at the end of the interval.
    """

    def __init__(self, directory: str, *, interval_s: float = 0.001) -> None:
        self._directory = directory
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._sender: socket.socket | None = None
        self._receiver: socket.socket | None = None
        self._own_name: str | None = None
        self._peers: list[str] = []
        self._peers_seen_at: int | None = None
        self._sent_at = float("-inf")
        self._later = 0
        self._later_event: threading.Event | None = None
        self._closed = False

    # ------------------------------------------------------------------ receiving

    def listen(self) -> socket.socket | None:
        """Our own socket, to be read when it is readable; ``None`` where there can be none."""
        if not hasattr(socket, "AF_UNIX"):
            return None
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        target = os.path.join(self._directory, name)
        hidden = os.path.join(self._directory, f".{name}")
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        try:
            for _ in range(3):  # the last to leave may remove the directory at any moment
                try:
                    os.makedirs(self._directory, mode=0o700, exist_ok=True)
                    if os.stat(self._directory).st_uid != os.getuid():
                        raise PermissionError(self._directory)
                    receiver.bind(hidden)
                    break
                except FileNotFoundError:
                    continue
            # Seen by others only now, when it answers: they remove what does not.
            os.rename(hidden, target)
        except OSError:
            receiver.close()
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            return None
        self._receiver = receiver
        self._own_name = name
        return receiver

    def received(self) -> int:
        """What has been told since the last time, as bits; 0 if nothing."""
        wakes = 0
        receiver = self._receiver
        while receiver is not None:
            try:
                message = receiver.recv(16)
            except OSError:
                break
            for byte in message:
                wakes |= byte
        return wakes

    def deafen(self) -> None:
        """Close our own socket."""
        receiver, self._receiver = self._receiver, None
        name, self._own_name = self._own_name, None
        if receiver is not None:
            receiver.close()
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._directory, name))
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)

    # ------------------------------------------------------------------ sending

    def tell(self, wakes: int) -> None:
        """Send to all others, soon. Any thread."""
        with self._lock:
            if self._later:
                self._later |= wakes
                return
            now = time.monotonic()
            wait_s = self._sent_at + self._interval_s - now
            if wait_s <= 0:
                self._sent_at = now
                self._send(wakes)
                return
            if not self._peers or self._closed:
                return  # whoever has come within the last millisecond looks for itself first
            self._later = wakes
            if self._later_event is None:
                self._later_event = threading.Event()
                threading.Thread(
                    target=self._send_later,
                    args=(self._later_event,),
                    name="backstay-wake",
                    daemon=True,
                ).start()
            self._later_event.set()

    def close(self) -> None:
        """Send what is left, and let go of everything."""
        self.deafen()
        with self._lock:
            self._closed = True
            wakes, self._later = self._later, 0
            if wakes:
                self._send(wakes)
            if self._sender is not None:
                self._sender.close()
                self._sender = None
            if self._later_event is not None:
                self._later_event.set()

    def _send_later(self, event: threading.Event) -> None:
        while True:
            event.wait()
            event.clear()
            if self._closed:
                return
            time.sleep(self._interval_s)
            with self._lock:
                wakes, self._later = self._later, 0
                if wakes:
                    self._sent_at = time.monotonic()
                    self._send(wakes)

    def _send(self, wakes: int) -> None:
        try:
            changed_at = os.stat(self._directory).st_mtime_ns
        except OSError:
            self._peers = []
            self._peers_seen_at = None
            return
        if changed_at != self._peers_seen_at:
            self._look_for_peers(changed_at)
        if not self._peers:
            return
        if self._sender is None:
            if self._closed:
                return
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        message = bytes((wakes,))
        for peer in self._peers:
            if peer == self._own_name:
                continue
            path = os.path.join(self._directory, peer)
            try:
                self._sender.sendto(message, path)
            except (ConnectionRefusedError, FileNotFoundError):
                # Its process has died without tidying up.
                with contextlib.suppress(OSError):
                    os.unlink(path)
            except OSError:
                pass  # its queue is full, so it has something to read already

    def _look_for_peers(self, changed_at: int) -> None:
        try:
            names = os.listdir(self._directory)
        except OSError:
            names = []
        self._peers = [name for name in names if not name.startswith(".") and self._is_other(name)]
        # A change within the same tick of the file system's clock would go unseen: look again
        # until the directory has been at rest for a while.
        at_rest = time.time_ns() - changed_at > 100_000_000
        self._peers_seen_at = changed_at if at_rest else None

    def _is_other(self, name: str) -> bool:
        return name != self._own_name
