"""Command lines: what a verb takes, and the words of one that need no argparse; near misses named."""

from types import SimpleNamespace

from orchestra_supervisor.cli.catalog import COMMANDS
from orchestra_supervisor.cli.words import Declared, UsageError, nearest

__all__ = ["CommandParser", "Options", "split_command"]

Options = SimpleNamespace
"""What a command line says: an attribute for each option and argument."""


class CommandParser:
    """The parser of one verb.

    Args:
        verb: The command.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.declared: list[Declared] = []
        """Options and arguments, in their order."""
        self.fixed: dict[str, object] = {}
        """Attributes of the options whatever the words are."""
        self.option("--home", metavar="DIR", help="state directory (else $ORCHESTRA_HOME, .orchestra)")

    def option(self, *flags: str, **settings: object) -> None:
        """Add an option (arguments as for argparse's `add_argument`)."""
        self.declared.append(Declared(flags, settings))

    def names(self, *, is_required: bool, what: str = "services, globs, tag:WORD, or `all`") -> None:
        """Add the NAMES argument."""
        self.argument("names", nargs="+" if is_required else "*", metavar="NAMES", help=what)

    def argument(self, name: str, *, is_told: bool = True, **settings: object) -> None:
        """Add an argument (as for `add_argument`); its metavar says what it is: NAMES, FILES, COMMAND."""
        self.declared.append(Declared((name,), settings, is_told=is_told))

    def json_option(self) -> None:
        """Add --json."""
        self.option("--json", action="store_true", dest="is_json", help="machine-readable output on stdout")

    @property
    def option_names(self) -> list[str]:
        """The long options."""
        flags = [flag for one in self.declared if one.is_option for flag in one.flags]
        return ["--help", *(flag for flag in flags if flag.startswith("--"))]

    def parse(self, words: list[str]) -> Options:
        """Parse the words after the verb; options and names may be mixed.

        Raises:
            UsageError: They are not understood.
        """
        values = self._plainly(words)
        if values is None:
            from orchestra_supervisor.cli.fullparser import FullParser

            values = FullParser(self.verb, self.declared).values_of(words)
        return Options(**self.fixed | values)

    def help_text(self) -> str:
        """Return what `--help` prints."""
        from orchestra_supervisor.cli.fullparser import FullParser

        return FullParser(self.verb, self.declared).format_help()

    def _plainly(self, words: list[str]) -> dict[str, object] | None:
        """Return the values of words that leave nothing open; None where argparse has to say what they mean.

        argparse takes 4 ms to load and to be told of a few options: a tenth of what `orchestra status` took.
        """
        options = {flag: one for one in self.declared if one.is_option for flag in one.flags}
        values = {one.dest: one.default for one in self.declared}
        names: list[str] = []
        rest = iter(words)
        for word in rest:
            if not word.startswith("-"):
                names.append(word)
                continue
            flag, equals, value = word.partition("=")
            one = options.get(flag)
            if one is None or (equals and not flag.startswith("--")):
                return None
            if one.kind == "store_true" and not equals:
                values[one.dest] = True
                continue
            if one.kind != "store":
                return None
            if not equals:
                value = next(rest, "-")
            if value == "--" or (value.startswith("-") and not equals):
                return None
            try:
                values[one.dest] = one.value_of(value)
            except ValueError:
                return None
        return self._with_names(values, names)

    def _with_names(self, values: dict[str, object], names: list[str]) -> dict[str, object] | None:
        arguments = [one for one in self.declared if not one.is_option]
        if not arguments:
            return None if names else values
        one, *others = arguments
        many = one.settings.get("nargs")
        if others or {"choices", "type", "default"} & one.settings.keys():
            return None
        if many == "*" or (many == "+" and names):
            values[one.dest] = names
        elif many != "?" or len(names) > 1:
            return None
        elif names:
            values[one.dest] = names[0]
        return values


def split_command(words: list[str]) -> tuple[str, list[str]]:
    """Take the verb out of a command line.

    Returns:
        The verb (`help` where none is given) and the words for its parser, a leading --home among them.
    """
    before: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--home":
            if not rest:
                raise UsageError("--home needs a directory", "orchestra --home DIR status")
            before += [f"--home={rest.pop(0)}"]
        elif word.startswith("--home="):
            before += [word]
        elif word in {"-h", "--help"}:
            return "help", rest
        elif word in {"-V", "--version"}:
            return "version", []
        elif word.startswith("-"):
            close = nearest(word, ["--home", "--help", "--version"])
            hint = f"did you mean {close}?" if close else "options of a command stand after it"
            raise UsageError(f"unknown option {word.partition('=')[0]}", hint)
        elif word in COMMANDS:
            return word, before + rest
        else:
            close = nearest(word, COMMANDS)
            hint = f"did you mean `orchestra {close}`?" if close else "`orchestra help` lists the commands"
            raise UsageError(f"unknown command {word!r}", hint)
    return "help", []
