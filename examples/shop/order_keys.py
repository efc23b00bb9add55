"""Keys with which guests follow their orders: whoever has an order's key may see that order."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

from examples.shop.models import Order

__all__ = ["OrderKeys"]

_PURPOSE = b"tea shop: key of an order"


class OrderKeys:
    """Makes the keys of orders, and recognises them. Nothing is stored: a key is a signature.

    Keys go into a header and never into an address, because addresses lie in logs, in browsers'
    histories and in the ``Referer`` of whatever is clicked next.

    Args:
        secrets: the shop's secret keys. The first one signs, all of them verify, so that guests
            keep their keys when a new secret comes.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        # Derived: tokens and cursors are signed with the same secrets, and none fits elsewhere.
        self._keys = [hmac.digest(each.encode(), _PURPOSE, "sha256") for each in secrets]

    @classmethod
    def from_setting(cls, setting: str) -> OrderKeys:
        """From ``BACKSTAY_SECRET_KEY``, where several are separated by commas."""
        return cls([key for each in setting.split(",") if (key := each.strip())])

    def key_of(self, order: Order) -> str:
        """The key of an order, 43 characters."""
        return _sign(self._keys[0], order)

    def fits(self, key: str | None, order: Order) -> bool:
        """Whether that is a key of the order.

        Args:
            key: as a client sent it: anything at all. ``None``: nothing.
            order: as it is in the database.
        """
        if key is None or not key.isascii():
            return False
        fitting = [hmac.compare_digest(key, _sign(each, order)) for each in self._keys]
        return any(fitting)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._keys)} secret(s)>"


def _sign(key: bytes, order: Order) -> str:
    # Not by the number alone: in a database that was made anew, other orders have these numbers.
    about = f"{order.id} {order.placed_at.isoformat()}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, about, "sha256")).rstrip(b"=").decode()
