"""The metrics as text: Prometheus' own format or OpenMetrics, of one process or of several."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from backstay.telemetry.metrics import Metrics

__all__ = ["forget_process", "written"]

_WORTH_COMPRESSING_BYTES = 1024


def written(metrics: Metrics, *, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """All metrics, for whoever asks for them. Takes milliseconds; any thread.

    Args:
        metrics: which.
        accept: the request's ``Accept``: OpenMetrics 1.0 for who asks for it, with exemplars;
            else Prometheus' text format 0.0.4.
        accept_encoding: the request's ``Accept-Encoding``; gzip for who takes it.

    Returns:
        The body, and the headers that say what it is.
    """
    source: _Source
    if metrics.shared_dir is None:
        source = metrics.registry
    else:
        _forget_the_dead(metrics.shared_dir)
        source = CollectorRegistry()
        MultiProcessCollector(source, str(metrics.shared_dir))  # type: ignore[no-untyped-call]  # prometheus_client has no types there
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # versions that are no numbers
        encode, content_type = choose_encoder("")
    body = encode(_WithoutBirthdays(source))
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    if len(body) >= _WORTH_COMPRESSING_BYTES and gzip_accepted(accept_encoding):
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def forget_process(metrics: Metrics) -> None:
    """For a process that ends: what it has running is not to be added to what others have."""
    if metrics.shared_dir is not None:
        mark_process_dead(os.getpid(), str(metrics.shared_dir))  # type: ignore[no-untyped-call]  # as above


def _forget_the_dead(folder: Path) -> None:
    """The same for those that could not say so: killed, or out of memory."""
    if os.name != "posix":  # elsewhere, asking whether a process lives ends it
        return
    for pid in {each.stem.rpartition("_")[2] for each in folder.glob("gauge_live*_*.db")}:
        if pid.isdecimal() and not _is_alive(int(pid)):
            with suppress(FileNotFoundError):  # another process was faster
                mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]  # as above


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, so it is there
        return True
    return True


class _Source(Protocol):
    def collect(self) -> Iterable[Metric]: ...


class _WithoutBirthdays:
    """The metrics without ``…_created``: a second series for each one that nobody looks at.

    prometheus_client can leave them out by itself, for a whole process or not at all.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            if metric.type in {"counter", "histogram", "summary"}:
                metric.samples = [
                    each for each in metric.samples if not each.name.endswith("_created")
                ]
            yield metric
