"""All companies the shop depends on, by the settings that say where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

from backstay.integration import EndpointsDeclaration
from examples.shop.integrations.analytics import Analytics
from examples.shop.integrations.mail import Mail
from examples.shop.integrations.parcel_service import ParcelService
from examples.shop.integrations.payment_gateway import PaymentGateway

__all__ = ["ADDRESSES", "Partners"]

ADDRESSES = ("PAYMENT_URL", "EMAIL_URL", "WAREHOUSE_URL", "ANALYTICS_URL")
"""The settings."""


class Settings(Protocol):
    def get(self, name: str, default: Any = None) -> Any: ...


@dataclass(frozen=True)
class Partners:
    """One instance of each, for as long as the app lives."""

    payment: PaymentGateway
    mail: Mail
    parcels: ParcelService
    analytics: Analytics

    @classmethod
    def at(cls, settings: Settings) -> Partners:
        """Them, where the settings say. Without an address nothing can be asked of one."""
        payment, mail, parcels, analytics = (settings.get(name, "") for name in ADDRESSES)
        return cls(
            PaymentGateway(payment), Mail(mail), ParcelService(parcels), Analytics(analytics)
        )

    def __iter__(self) -> Iterator[EndpointsDeclaration]:
        for each in fields(self):
            yield getattr(self, each.name)
