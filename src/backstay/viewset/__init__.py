"""View sets: a table with routes in front of it.

May know ``backstay.db``, ``backstay.cache``, ``backstay.web`` and the ground. Needs the extra ``db``.
"""

from backstay.viewset.actions import action
from backstay.viewset.app_orm import AppOrm
from backstay.viewset.bulk import ViewSetBulk
from backstay.viewset.creating import ViewSetCreate
from backstay.viewset.deleting import ViewSetDelete
from backstay.viewset.full import FullViewSet
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.paginators import (
    BasePaginatorClass,
    CursorPaginator,
    DefaultPaginator,
    LimitOffsetPaginator,
)
from backstay.viewset.reading import ViewSetList, ViewSetRetrieve
from backstay.viewset.updating import ViewSetUpdate

__all__ = [
    "AppOrm",
    "BasePaginatorClass",
    "CursorPaginator",
    "DefaultPaginator",
    "FullViewSet",
    "GenericViewSet",
    "LimitOffsetPaginator",
    "ViewSetBulk",
    "ViewSetCreate",
    "ViewSetDelete",
    "ViewSetList",
    "ViewSetRetrieve",
    "ViewSetUpdate",
    "action",
]
