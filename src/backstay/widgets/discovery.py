"""Finding widgets: given ones, and those of a package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from backstay.errors import BadWidget
from backstay.widgets.widget import BaseWidget

__all__ = ["find_widgets"]


def find_widgets(widgets: object) -> list[BaseWidget]:
    """An instance of each widget.

    Args:
        widgets: the name of a package or module (``"shop.widgets"``), the module itself, a class,
            an instance, or several of these. Of a package, every class that is written in it, at
            any depth, and has an ``identifier``.

    Raises:
        BadWidget: there is something else in it, or no widget in a package.
        ImportError: a module of the package cannot be imported; its own error.
    """
    if isinstance(widgets, str | ModuleType):
        module = importlib.import_module(widgets) if isinstance(widgets, str) else widgets
        found = _widgets_of(module)
        if not found:
            raise BadWidget(
                f"no widgets in {module.__name__!r}: classes below BaseWidget with an identifier, "
                "written in that package"
            )
        return [_instance(each) for each in found]
    if isinstance(widgets, BaseWidget):
        return [widgets]
    if isinstance(widgets, type):
        return [_instance(widgets)]
    if isinstance(widgets, Iterable):
        return [each for some in widgets for each in find_widgets(some)]
    raise BadWidget(f"widgets= takes classes, instances or the name of a package; got {widgets!r}")


def _widgets_of(module: ModuleType) -> list[type[BaseWidget]]:
    modules = [module]
    if hasattr(module, "__path__"):
        modules += [
            importlib.import_module(each.name)
            for each in sorted(
                pkgutil.walk_packages(module.__path__, f"{module.__name__}."), key=lambda m: m.name
            )
            if "._" not in each.name.removeprefix(module.__name__)
        ]
    found = (
        value
        for each in modules
        for value in vars(each).values()
        if isinstance(value, type)
        and issubclass(value, BaseWidget)
        and value.__module__ == each.__name__
        and isinstance(getattr(value, "identifier", None), str)
    )
    return list(dict.fromkeys(found))  # a class may have two names in its module


def _instance(kind: object) -> BaseWidget:
    if not (isinstance(kind, type) and issubclass(kind, BaseWidget)):
        raise BadWidget(f"{kind!r} is no widget; write a class below BaseWidget")
    try:
        return kind()
    except TypeError as error:
        raise BadWidget(
            f"the widget {kind.__qualname__} cannot be made without arguments ({error}); "
            "pass an instance of it"
        ) from None
