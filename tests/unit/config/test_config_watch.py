"""What may be written of watches, and which files a configuration is read from."""

from pathlib import Path

import pytest

from orchestra_supervisor.engine.reload import Inputs, inputs_of
from orchestra_supervisor.model.watch import WatchSpec


def test_a_watch_is_a_list_of_paths_or_an_object(load_service):
    assert load_service().watch is None
    assert load_service(watch=["src", "*.toml"]).watch == WatchSpec(paths=("src", "*.toml"))
    written = {
        "paths": ["${DIR:-src}/**"],
        "ignore": ["*.log"],
        "gitignore": True,
        "debounce": "1s",
        "action": "reload",
    }
    assert load_service(watch=written).watch == WatchSpec(
        paths=("src/**",), ignore=("*.log",), gitignore=True, debounce=1.0, action="reload"
    )


@pytest.mark.parametrize(
    ("watch", "word"),
    [
        ([], "at least 1"),
        ("src", "an object"),
        ({"paths": ["src"], "action": "stop"}, "'restart' or 'reload'"),
        ({"paths": ["src"], "debounce": 0}, "greater than"),
        ({"path": ["src"]}, "path"),
        ({"paths": ["a\u0000b"]}, "NUL"),
    ],
)
def test_another_watch_is_refused_at_its_place(load, watch, word):
    result = load({"services": {"one": {"command": ["true"], "watch": watch}}})
    assert any(word in error.message for error in result.errors), [one.message for one in result.errors]
    assert all(error.hint and error.where[0].line for error in result.errors)


def test_the_configuration_is_watched_when_the_settings_say_so(load):
    result = load({"settings": {"watch_config": True, "watch_debounce": "2s"}, "services": {}})
    assert (result.fleet.settings.watch_config, result.fleet.settings.watch_debounce) == (True, 2.0)


def test_a_fleet_knows_all_that_it_was_read_from(load, write, tmp_path: Path):
    write({"services": {"two": {"command": "x"}}}, "conf.d/two.json")
    write("A=1\n", "own.env")
    result = load(
        {
            "include": ["conf.d/*.json"],
            "settings": {"secrets_file": "secrets.json", "env_files": ["?all.env"]},
            "services": {"one": {"command": "x", "env_files": ["own.env"]}},
        }
    )
    assert not result.errors
    names = ("all.env", "conf.d/two.json", "orchestra.json", "own.env", "secrets.json")
    good = inputs_of(result, Inputs(()))
    assert good == Inputs(
        tuple(str(tmp_path / name) for name in sorted(names)), (f"{tmp_path}/conf.d/*.json",)
    )
    bad = inputs_of(load("{"), good)
    assert bad == good, "a file that cannot be read hides none of the others"
