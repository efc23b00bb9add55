"""What a server offers, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from backstay.errors import BadWidget
from backstay.widgets.faces import Face
from backstay.widgets.resources import Completer, Prompt, Resource, Template
from backstay.widgets.tool import Tool

__all__ = ["Registry", "did_you_mean"]


class Registry:
    """Tools, pages, resources, prompts and completers. Filled where the server is made.

    Attributes:
        tools: by name.
        faces: by both addresses of each page.
        resources: by address.
        templates: in the order they are tried.
        prompts: by name.
        completers: by prompt's name or resource's template, and argument.
    """

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        self.faces: dict[str, Face] = {}
        self.resources: dict[str, Resource] = {}
        self.templates: list[Template] = []
        self.prompts: dict[str, Prompt] = {}
        self.completers: dict[tuple[str, str], Completer] = {}
        self._tools_listed: list[dict[str, Any]] | None = None

    def add_tool(self, tool: Tool) -> None:
        """One more tool, with its page if it has one.

        Raises:
            BadWidget: there is one of that name.
        """
        if tool.name in self.tools:
            raise BadWidget(
                f"two tools or widgets are called {tool.name!r}; every identifier is used once"
            )
        self.tools[tool.name] = tool
        self._tools_listed = None
        if tool.face is not None:
            self.faces[tool.face.uri] = tool.face
            self.faces[tool.face.base_uri] = tool.face

    def add_resource(self, resource: Resource) -> None:
        """One more document.

        Raises:
            BadWidget: there is one at that address.
        """
        if resource.uri in self.resources or resource.uri in self.faces:
            raise BadWidget(f"two resources are at {resource.uri!r}; every address is used once")
        self.resources[resource.uri] = resource

    def add_template(self, template: Template) -> None:
        """More documents.

        Raises:
            BadWidget: that template is there already.
        """
        if any(each.template == template.template for each in self.templates):
            raise BadWidget(f"two resources are at {template.template!r}")
        self.templates.append(template)

    def add_prompt(self, prompt: Prompt) -> None:
        """One more prompt.

        Raises:
            BadWidget: there is one of that name.
        """
        if prompt.name in self.prompts:
            raise BadWidget(f"two prompts are called {prompt.name!r}; every name is used once")
        self.prompts[prompt.name] = prompt

    def add_completer(self, reference: str, argument: str, complete: Completer) -> None:
        """What an argument of a prompt or of a resource's address could be.

        Raises:
            BadWidget: there is no such prompt or template, or it has no such argument.
        """
        prompt = self.prompts.get(reference)
        template = next((each for each in self.templates if each.template == reference), None)
        if prompt is None and template is None:
            raise BadWidget(
                f"completion for {reference!r}: there is no prompt of that name and no resource "
                "with that template; declare it first"
            )
        known = list(prompt.arguments) if prompt is not None else []
        known += template.variables if template is not None else []
        if argument not in known:
            raise BadWidget(
                f"completion for {argument!r} of {reference!r}, which has {', '.join(known)}"
            )
        self.completers[reference, argument] = complete

    @property
    def tools_listed(self) -> list[dict[str, Any]]:
        """As ``tools/list`` tells them; made once."""
        if self._tools_listed is None:
            self._tools_listed = [tool.description_on_the_wire() for tool in self.tools.values()]
        return self._tools_listed

    def pages(self) -> list[Face]:
        """Each page once."""
        return [tool.face for tool in self.tools.values() if tool.face is not None]

    def face_at(self, uri: str) -> Face | None:
        """The page at an address, even one of an earlier version of it: a host that has kept the
        old address gets the new page.
        """
        face = self.faces.get(uri)
        if face is None and uri.startswith("ui://widget/") and uri.endswith(".html"):
            face = self.faces.get(f"{uri.removesuffix('.html').rpartition('.')[0]}.html")
        return face


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is none: the nearest, or a few of those there are."""
    names = list(known)
    near = difflib.get_close_matches(name[:200], names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "this server has none"
    return f"there are: {', '.join(names[:20])}" + (" …" if len(names) > 20 else "")
