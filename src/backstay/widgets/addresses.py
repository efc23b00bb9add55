"""Where files are fetched from: the ground's rules about addresses, in words about files."""

from __future__ import annotations

from backstay.addresses import Address, HostUnfit, Lookup, look_up
from backstay.addresses import find_addresses as find
from backstay.widgets.file_refusal import FileRefused

__all__ = ["Address", "Lookup", "find_addresses", "look_up"]


async def find_addresses(
    host: str, port: int, *, allow_private: bool, lookup: Lookup = look_up
) -> list[Address]:
    """Where to connect for a file's host.

    Args:
        host: a name in its ASCII form, or an address without brackets.
        port: where to.
        allow_private: loopback and private networks may be connected to.
        lookup: who is asked.

    Raises:
        FileRefused: it is no host, has no address, or has one that is not connected to.
    """
    try:
        return await find(host, port, allow_private=allow_private, lookup=lookup)
    except HostUnfit as unfit:
        raise FileRefused(_tell(host, unfit)) from None


def _tell(host: str, unfit: HostUnfit) -> str:
    if unfit.kind == "malformed":
        return f"{host[:80]!r} is no host; give the file's address as https://host/path"
    if unfit.kind == "number":
        return f"the host {host!r} is a number that is no plain IPv4 address; give the host's name"
    if unfit.kind == "unknown":
        return f"the file's host {host!r} has no address; give the address of one that is there"
    return (
        f"the file's host {host!r} leads to {unfit.reason}, from where nothing is fetched; "
        "give a public address"
    )
