"""How a verb gets its help: from its docstring, with the examples last."""

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand


class _Verb(TyperCommand):
    """Shows arguments without the braces that Typer puts around those that are required."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


def add(
    app: typer.Typer,
    verb: Callable[..., None],
    name: str | None = None,
    panel: str | None = None,
    hidden: bool = False,
) -> None:
    """Register a verb.

    Args:
        app: what it is added to.
        verb: a function. Its docstring may end with a section `Examples:`, which is shown below the options.
        name: of the verb; None for that of the function.
        panel: the title of the panel that lists it.
        hidden: no panel lists it.
    """
    text, title, examples = inspect.cleandoc(verb.__doc__ or "").partition("\n\nExamples:\n")
    paragraphs = (paragraph.replace("\n", " ") for paragraph in text.split("\n\n"))  # the terminal wraps them
    register = app.command(
        name,
        cls=_Verb,
        help="\n\n".join(paragraphs),
        epilog=(title + examples).strip() or None,
        rich_help_panel=panel,
        hidden=hidden,
    )
    register(verb)
