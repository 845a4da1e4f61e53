"""What the command has: to check that text about it is true."""

import re
import shlex

import typer

from melascope.cli.main import app


def verbs(group=None, before=()):
    """The options of each verb, such as `("model", "info")`."""
    options = {}
    for name, command in (group or typer.main.get_command(app)).commands.items():
        words = (*before, name)
        if hasattr(command, "commands"):
            options |= verbs(command, words)
        else:
            options[words] = {option for item in command.params for option in item.opts if option[0] == "-"}
    return options


def wrong(line, known):
    """What a line says of the command that is not so."""
    try:
        words = shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:  # an apostrophe: no command
        return None
    words = words[: next((i for i, word in enumerate(words) if word in {"|", ">", "&&", ";"}), None)]
    if words[:1] == ["import"]:  # Python
        return None
    if "melascope" in words:
        words = words[words.index("melascope") + 1 :]
        if not words or not re.fullmatch(r"[a-z-]+", words[0]):
            return None  # `melascope VERB --help`
    elif not words or (words[:1] not in map(list, known) and words[:2] not in map(list, known)):
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        everything = set().union(*known.values()) | {"--help", "--version"}
        return next((f"no verb has {name}" for name in options if words[0] == name not in everything), None)
    verb = next((tuple(words[:n]) for n in (1, 2) if tuple(words[:n]) in known), None)
    if verb is None:
        groups = {names[0] for names in known if len(names) > 1}  # named alone, all their verbs are meant
        named = words[0] in {"--help", "--version"} or (len(words) == 1 and words[0] in groups)
        return None if named else f"no verb {words[0]}"
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = sorted(options - known[verb] - {"--help"})
    return f"{' '.join(verb)} has no {', '.join(unknown)}" if unknown else None
