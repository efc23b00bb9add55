"""``FullViewSet``: list, create, retrieve, update and delete."""

from __future__ import annotations

from backstay.viewset.creating import ViewSetCreate
from backstay.viewset.deleting import ViewSetDelete
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.reading import ViewSetList, ViewSetRetrieve
from backstay.viewset.updating import ViewSetUpdate

__all__ = ["FullViewSet"]


class FullViewSet(
    ViewSetList,
    ViewSetCreate,
    ViewSetRetrieve,
    ViewSetUpdate,
    ViewSetDelete,
    GenericViewSet,
):
    """A view set with all five; ``GenericViewSet`` says what it can be told."""
