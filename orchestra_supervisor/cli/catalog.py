"""The commands: what each is for and which module holds it. Light enough to be read by every run."""

__all__ = ["COMMANDS", "GROUPS", "Command", "help_text"]


class Command:
    """One verb.

    Args:
        module: Name in `cli/commands/`.
        usage: Its arguments in short.
        summary: One clause.
    """

    __slots__ = ("module", "summary", "usage")

    def __init__(self, module: str, usage: str, summary: str) -> None:
        self.module = module
        self.usage = usage
        self.summary = summary


COMMANDS: dict[str, Command] = {
    "up": Command("up", "[-c FILE] [--detach]", "start the fleet and watch it become ready"),
    "down": Command("down", "", "stop every service in order, then the fleet"),
    "plan": Command("plan", "[FILES]", "what a reload would do, value by value, without doing it"),
    "reload": Command("reload", "[NAMES]", "read the fleet's files again; or tell services to read theirs"),
    "upgrade-daemon": Command(
        "upgrade", "", "put the installed version in the daemon's place; services run on"
    ),
    "status": Command("status", "[NAMES]", "every service: state, pid, uptime, and why"),
    "top": Command("top", "[NAMES]", "what every service uses: processor, memory, files"),
    "graph": Command("graph", "[NAMES]", "who needs whom: as a tree, for Graphviz, or a picture"),
    "logs": Command("logs", "[NAMES] [-f]", "what the services wrote, also while the daemon is away"),
    "events": Command("events", "[-f]", "what happened, and who asked for it"),
    "plugins": Command("plugins", "", "the plugins of the fleet, and what went wrong with them"),
    "mcp": Command("mcp", "[ACTION]", "the fleet for Claude and other MCP clients, and their files"),
    "start": Command("verbs", "NAMES", "start services and wait until they are ready"),
    "stop": Command("verbs", "NAMES", "stop services; a stop by hand is remembered"),
    "restart": Command("verbs", "NAMES", "stop services, then start them"),
    "scale": Command("scale", "NAME=N", "have another number of replicas of a service"),
    "run": Command("run", "NAMES [--wait]", "run periodic and once services now"),
    "signal": Command("signal", "NAMES SIG", "send a signal to services"),
    "wait": Command("wait", "NAMES --for STATE", "wait until services are ready, stopped or completed"),
    "check": Command("check", "[FILES]", "find errors and disagreements in configuration files"),
    "import": Command("import_", "FILES [-o OUT]", "files of other tools, rewritten into the native form"),
    "doctor": Command("doctor", "", "whether this host and this fleet are well, a line each"),
    "bundle": Command("bundle", "[FILE]", "an archive for whoever is to help, without secrets"),
    "completion": Command("completion", "SHELL", "a script that completes commands and names in a shell"),
    "systemd": Command("systemd", "ACTION", "a unit that runs the fleet, or units in its place"),
    "version": Command("version", "", "the version of this program"),
    "help": Command("help", "[COMMAND]", "this text, or that of a command"),
}

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Run a fleet", ("up", "down", "plan", "reload", "upgrade-daemon")),
    ("Look at it", ("status", "top", "graph", "logs", "events", "plugins")),
    ("Act on services", ("start", "stop", "restart", "run", "scale", "signal", "wait")),
    ("Let models in", ("mcp",)),
    ("Prepare", ("check", "import", "doctor", "bundle", "systemd", "completion", "version", "help")),
)


def help_text() -> str:
    """Return what `orchestra` says when it is asked for nothing."""
    lines = [
        "orchestra runs a host's backend, context and MCP servers and keeps them healthy.",
        "",
        "Usage: orchestra [--home DIR] COMMAND ...",
    ]
    for title, names in GROUPS:
        lines += ["", f"{title}:"]
        for name in names:
            command = COMMANDS[name]
            lines.append(f"  {name + ' ' + command.usage:<24} {command.summary}".rstrip())
    lines += [
        "",
        "NAMES are separated by blanks or commas; globs (mcp_*), tag:WORD and `all` work everywhere.",
        "`orchestra help COMMAND` tells all options. Begin with: orchestra up",
    ]
    return "\n".join(lines)
