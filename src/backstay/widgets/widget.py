"""``BaseWidget``: what somebody writes to give AI clients a tool with a face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

__all__ = ["BaseWidget"]


class BaseWidget:
    """A tool with a face. Write a class, set its attributes, and write ``execute``::

        class Weather(BaseWidget):
            identifier = "weather"
            title = "Weather"
            input_schema = WeatherInput
            invoking = "Looking outside"
            invoked = "This is the weather"
            template = "list"

            async def execute(self, inputs: WeatherInput, ctx: WidgetContext) -> dict[str, Any]:
                return {"items": [...]}

    ``execute`` may be sync (it then runs in a thread). It may take ``(inputs)``,
    ``(inputs, ctx)`` or ``(input_data, context, user)``. One instance serves every call, many at a
    time, so what belongs to a call belongs into ``ctx``, not on ``self``.

    What it returns (a mapping, a pydantic model, a dataclass) is what the model reads and what the
    face gets as its props. See ``backstay.widgets.Result`` for saying more.

    Attributes:
        identifier: the tool's name: 1 to 128 out of letters, digits and ``_-.`` (MCP 2025-11-25).
        title: its name for people.
        description: what it does and when to use it, for the model. Empty: the class's docstring,
            else the title.
        input_schema: a pydantic model of its inputs. ``None``: it takes none.
        output_schema: a model of what it returns, which is then checked and announced. ``None``:
            what ``execute`` is annotated to return, if that is a model, else nothing is announced.
        invoking: shown while it runs, 64 characters at most.
        invoked: shown when it is done, 64 characters at most.
        html: its face: a document or fragment as text, or the path of a file (relative to the file
            the class is written in). ``None``: see ``template``.
        template: the name of a ready face: ``list``, ``carousel``, ``albums``, ``form``, ``chart``
            or ``progress``. With neither, a file ``<identifier>.html`` or
            ``<identifier>/index.html`` beside the class, or what Vite has built of
            ``<identifier>/index.jsx``. A widget without any of these is a tool without a face.
        widget_accessible: whether its face may call tools.
        widget_description: what the face shows, for the model, so that it does not say it again.
        widget_csp: domains the face may reach: ``connect_domains``, ``resource_domains``,
            ``frame_domains``, ``base_uri_domains``, ``redirect_domains``. ``None``: none, all that
            it needs is in its page.
        widget_prefers_border: whether hosts should draw a border around it.
        widget_domain: the origin that hosts should give it, ``None`` for the host's choice.
        widget_permissions: of ``camera``, ``microphone``, ``geolocation``, ``clipboard_write``.
        visibility: who may call it: the ``model``, the ``app`` (faces), or both.
        supported_locales: what it can speak (BCP 47). ``None``: it does not care, and
            ``ctx.locale`` is what the client asked for.
        default_locale: spoken when nothing supported was asked for.
        read_only: whether it changes nothing. ``None``: not said.
        destructive: whether it may destroy something. ``None``: not said.
        idempotent: whether doing it twice is doing it once. ``None``: not said.
        open_world: whether it reaches beyond this service. ``None``: not said.
        timeout: seconds it may run. ``None``: the server's ``timeout_s``.
        task_support: whether clients may have it run as an MCP task, in the background, as a
            durable job: ``forbidden``, ``optional`` or ``required``. Needs
            ``backstay.tasks.add_tasks(app)``. There only its own ``timeout`` counts; ``execute``
            may raise ``Discard``, ``Cancel``, ``Snooze`` or ``RetryLater`` of ``backstay.tasks``;
            and it may run more than once, if its worker dies.
        max_file_bytes: how large each field of bytes may be.
    """

    identifier: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str] = ""
    input_schema: ClassVar[type[BaseModel] | None] = None
    output_schema: ClassVar[type[BaseModel] | None] = None
    invoking: ClassVar[str] = "Processing…"
    invoked: ClassVar[str] = "Done"

    html: ClassVar[str | Path | None] = None
    template: ClassVar[str | None] = None
    widget_accessible: ClassVar[bool] = True
    widget_description: ClassVar[str | None] = None
    widget_csp: ClassVar[Mapping[str, Sequence[str]] | None] = None
    widget_prefers_border: ClassVar[bool] = False
    widget_domain: ClassVar[str | None] = None
    widget_permissions: ClassVar[Sequence[str]] = ()
    visibility: ClassVar[Sequence[Literal["model", "app"]]] = ("model", "app")

    supported_locales: ClassVar[Sequence[str] | None] = None
    default_locale: ClassVar[str] = "en"

    read_only: ClassVar[bool | None] = None
    destructive: ClassVar[bool | None] = None
    idempotent: ClassVar[bool | None] = None
    open_world: ClassVar[bool | None] = None

    timeout: ClassVar[float | None] = None
    task_support: ClassVar[Literal["forbidden", "optional", "required"]] = "forbidden"
    max_file_bytes: ClassVar[int] = 10 * 1024 * 1024

    async def before_task(self, inputs: Any, ctx: Any) -> None:
        """Ask what has to be known before the call goes into the background as a task.

        Questions asked here (``ctx.elicit``) are answered by whoever makes the call, and their
        answers are there at once when ``execute`` asks the same with the same ``key``. By default
        nothing is asked.

        Args:
            inputs: as ``execute`` gets them.
            ctx: the same.
        """

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work and return what the model reads and the face shows.

        Raises:
            ValidationError: the inputs will not do; the model is told why.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has no execute(self, inputs, ctx); write one"
        )
