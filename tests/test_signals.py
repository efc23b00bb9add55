"""Hearing that the process is asked to stop."""

import asyncio
import signal

from backstay.signals import SignalChain
from tests.support import async_test


@async_test
async def test_the_signal_chain_hears_first_passes_on_and_leaves() -> None:
    heard, passed_on = asyncio.Event(), []
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: passed_on.append(number))
    mine = signal.getsignal(signal.SIGTERM)
    try:
        chain = SignalChain(heard.set)
        chain.install(asyncio.get_running_loop())
        signal.raise_signal(signal.SIGTERM)
        await heard.wait()
        assert passed_on == [signal.SIGTERM]
        chain.remove()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


@async_test
async def test_the_signal_chain_leaves_default_handling_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        chain = SignalChain(lambda: None)
        chain.install(asyncio.get_running_loop())
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        chain.remove()
    finally:
        signal.signal(signal.SIGTERM, before)
