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
    "reload": Command("reload", "", "read the configuration again, apply what changed"),
    "status": Command("status", "[NAMES]", "every service: state, pid, uptime, and why"),
    "logs": Command("logs", "[NAMES] [-f]", "what the services wrote, also while the daemon is away"),
    "events": Command("events", "[-f]", "what happened, and who asked for it"),
    "start": Command("verbs", "NAMES", "start services and wait until they are ready"),
    "stop": Command("verbs", "NAMES", "stop services; a stop by hand is remembered"),
    "restart": Command("verbs", "NAMES", "stop services, then start them"),
    "scale": Command("scale", "NAME=N", "have another number of replicas of a service"),
    "run": Command("run", "NAMES [--wait]", "run periodic and once services now"),
    "signal": Command("signal", "NAMES SIG", "send a signal to services"),
    "wait": Command("wait", "NAMES --for STATE", "wait until services are ready, stopped or completed"),
    "check": Command("check", "[FILES]", "find errors and disagreements in configuration files"),
    "version": Command("version", "", "the version of this program"),
    "help": Command("help", "[COMMAND]", "this text, or that of a command"),
}

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Run a fleet", ("up", "down", "reload")),
    ("Look at it", ("status", "logs", "events")),
    ("Act on services", ("start", "stop", "restart", "run", "scale", "signal", "wait")),
    ("Prepare", ("check", "version", "help")),
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
        "NAMES are separated by blanks or commas; globs (mcp_*) and `all` work everywhere.",
        "`orchestra help COMMAND` tells all options. Begin with: orchestra up",
    ]
    return "\n".join(lines)
