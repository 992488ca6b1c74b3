"""docs/from-supervisord.md says a word on everything; the example of a container is what it says."""

import json
import re
import shlex
from pathlib import Path

import pytest
from supervisor.events import EventTypes

from orchestra_supervisor.cli.catalog import COMMANDS
from orchestra_supervisor.cli.parser import CommandParser, split_command
from orchestra_supervisor.config.supervisord_options import KNOWN

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "from-supervisord.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "configs" / "Dockerfile.from-supervisord").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", sorted({option for options in KNOWN.values() for option in options}))
def test_every_option_has_its_word(option):
    rows = [line for line in PAGE.splitlines() if re.match(rf"\| [^|]*`{re.escape(option)}`", line)]
    judged = re.compile(r"\| [^|]+ \| (same|better|different|not)(, different)? \|")
    assert rows
    assert all(judged.match(row) for row in rows), rows


@pytest.mark.parametrize("section", sorted(KNOWN))
def test_every_section_has_its_word(section):
    assert f"[{section}" in PAGE


@pytest.mark.parametrize("name", sorted(name for name in vars(EventTypes) if name.isupper()))
def test_every_type_of_event_is_listed(name):
    assert f"`{name}`" in PAGE


def instructions() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in DOCKERFILE.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(rest)
    return found


def parsed(words: list[str]):
    assert words[0] == "orchestra"
    verb, rest = split_command(words[1:])
    module = __import__(f"orchestra_supervisor.cli.commands.{COMMANDS[verb].module}", fromlist=["configure"])
    parser = CommandParser(verb)
    module.configure(parser)
    return verb, parser.parse(rest)


def test_the_dockerfile_starts_the_fleet_as_process_1_with_logs_on_stdout():
    (command,) = instructions()["CMD"]
    verb, options = parsed(json.loads(command))
    assert (verb, options.is_exec, options.logs) == ("up", True, "prefix")
    assert options.config == ["/etc/supervisor/supervisord.conf"]
    copied = [shlex.split(line)[-1] for line in instructions()["COPY"]]
    assert options.config[0] in copied
    assert instructions()["STOPSIGNAL"] == ["SIGTERM"]


def test_the_health_check_of_the_dockerfile_is_a_command_of_ours():
    (check,) = instructions()["HEALTHCHECK"]
    verb, options = parsed(json.loads(check[check.index("[") :]))
    assert (verb, options.names, options.timeout) == ("wait", ["all"], 5.0)


def test_the_home_of_the_container_is_its_volume_and_nothing_is_left_of_supervisord():
    found = instructions()
    assert found["ENV"] == [f"ORCHESTRA_HOME={found['VOLUME'][0]}"]
    assert found["RUN"] == ["pip install --no-cache-dir orchestra-supervisor"]
