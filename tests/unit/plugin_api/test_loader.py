"""What a plugin can do wrong before it serves: each is its fault, named, with a way out."""

import os
import sys
import time
from pathlib import Path

import pytest

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.plugin_api.loader import PluginLoader
from orchestra_supervisor.plugin_api.plugin import Plugin
from tests.unit.plugin_api.plugin_files import HEAD, load_text, spec_of, write_plugin

GOOD = """
class Probe:
    type = "demo"
    async def check(self, request):
        return Verdict(True, "fine")

@hookimpl
def register_probes(context):
    return [Probe()]
"""


def fault_of(plugin: Plugin) -> str:
    assert plugin.fault is not None, "it was loaded"
    assert plugin.offers.probes == {}
    return f"{plugin.fault.message} | {plugin.fault.hint}"


def test_a_good_plugin_says_its_name_and_brings_what_its_hooks_return(
    loader: PluginLoader, tmp_path: Path
) -> None:
    plugin = load_text(loader, tmp_path, GOOD + 'VERSION = "2.1"\n')
    assert plugin.fault is None
    assert (plugin.name, plugin.version, plugin.hooks) == ("demo", "2.1", ("register_probes",))
    assert list(plugin.offers.probes) == ["demo"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise OSError('no disk')", ("OSError: no disk", "demo.py:8")),
        ("import no_such_module_here", ("no_such_module_here",)),
        ("def broken(:", ("SyntaxError", "demo.py:8")),
        ("sys.exit(3)", ("tried to end the process", "SystemExit")),
        ("class Odd(BaseException): pass\nraise Odd()", ("tried to end the process",)),
        ("pass", ("implements no hook",)),
        ("API_VERSION = 2", ("API version 2", "this supervisor has 1")),
        ("del API_VERSION", ("says no API_VERSION",)),
        ("del NAME", ("has no NAME",)),
        ("NAME = 'a b'", ("calls itself 'a b'",)),
        ("@hookimpl\ndef register_everything(context): return []", ("no hook register_everything", "hooks:")),
        ("@hookimpl\ndef register_probe(context): return []", ("did you mean register_probes?",)),
        ("@hookimpl\ndef register_probes(context, more): return []", ("hook 'register_probes'", "'more'")),
        ("@hookimpl\ndef register_commands(context): return []", ("register_commands is reserved",)),
        ("@hookimpl\ndef register_probes(context): raise KeyError('port')", ("KeyError: 'port'",)),
        ("@hookimpl\ndef register_probes(context): return None", ("returned NoneType", "[Probe, ...]")),
        ("@hookimpl\ndef register_probes(context): return 'text'", ("returned str",)),
        ("@hookimpl\ndef register_probes(context): return [5]", ("int is no Probe", "has no `type`")),
    ],
)
def test_a_plugin_that_is_wrong_is_refused_with_the_reason(
    loader: PluginLoader, tmp_path: Path, text: str, said: tuple[str, ...]
) -> None:
    message = fault_of(load_text(loader, tmp_path, text))
    for word in said:
        assert word in message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("type = 'x'", "has no method `check`"),
        ("type = 'x'\n    def check(self, request): pass", "`check` is not async"),
        ("type = 'x'\n    async def check(self): pass", "`check` does not take (request)"),
        ("type = 7\n    async def check(self, request): pass", "`type` is int, not str"),
        ("type = 'a b'\n    async def check(self, request): pass", "'a b'"),
        (
            "@property\n    def type(self): raise OSError('x')\n    async def check(self, request): pass",
            "OSError",
        ),
    ],
)
def test_an_object_that_does_not_meet_its_protocol_is_refused(
    loader: PluginLoader, tmp_path: Path, body: str, said: str
) -> None:
    text = f"class Probe:\n    {body}\n@hookimpl\ndef register_probes(context): return [Probe()]\n"
    assert said in fault_of(load_text(loader, tmp_path, text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("time.sleep(3600)", "its import"),
        ("@hookimpl\ndef register_probes(context): threading.Event().wait()", "hook register_probes"),
    ],
)
def test_a_plugin_that_hangs_while_it_is_loaded_is_given_up_in_its_time(
    loader: PluginLoader, tmp_path: Path, text: str, what: str
) -> None:
    began = time.monotonic()
    message = fault_of(load_text(loader, tmp_path, text, timeout=0.2))
    assert f"{what}: no end within 0.2 s" in message
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_several_that_hang_cost_the_time_of_one(loader: PluginLoader, tmp_path: Path) -> None:
    paths = [write_plugin(tmp_path, "time.sleep(3600)", f"hang{number}.py") for number in range(6)]
    began = time.monotonic()
    plugins = loader.load([spec_of(path, timeout=1.0) for path in paths])
    assert time.monotonic() - began < 5
    assert all("no end within 1 s" in fault_of(plugin) for plugin in plugins)


def test_a_missing_file_a_missing_module_and_a_missing_entry_point_are_told(
    loader: PluginLoader, tmp_path: Path
) -> None:
    file, module, point = loader.load(
        [
            spec_of(tmp_path / "none.py"),
            spec_of(Path("no_such_package.plugin")),
            spec_of(Path("entry-point:none")),
        ]
    )
    assert "no such file" in fault_of(file)
    assert "no module" in fault_of(module)
    assert "no package brings an entry point none" in fault_of(point)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_change_is_refused_unread(
    loader: PluginLoader, tmp_path: Path, mode: int
) -> None:
    path = write_plugin(tmp_path, "raise AssertionError('it was run')")
    path.chmod(mode)
    message = fault_of(loader.load([spec_of(path)])[0])
    assert f"mode {mode:04o}: others may change it" in message
    assert f"chmod go-w {path}" in message


def test_a_file_in_a_folder_that_others_may_change_is_refused(loader: PluginLoader, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = write_plugin(folder, GOOD)
    folder.chmod(0o777)
    assert f"{folder} has mode 0777" in fault_of(loader.load([spec_of(path)])[0])
    folder.chmod(0o1777)  # with the sticky bit, others cannot replace what is ours
    assert loader.load([spec_of(path)])[0].fault is None


def test_a_link_is_judged_by_where_it_leads(loader: PluginLoader, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = write_plugin(folder, GOOD)
    folder.chmod(0o777)
    (tmp_path / "link.py").symlink_to(path)
    assert f"{folder} has mode 0777" in fault_of(loader.load([spec_of(tmp_path / "link.py")])[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(loader: PluginLoader, tmp_path: Path) -> None:
    path = write_plugin(tmp_path, GOOD)
    os.chown(path, 12345, -1)
    assert "belongs to user 12345" in fault_of(loader.load([spec_of(path)])[0])


def test_what_is_no_regular_file_is_refused(loader: PluginLoader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py", 0o600)
    assert "not a regular file" in fault_of(loader.load([spec_of(tmp_path / "pipe.py")])[0])


def test_a_plugin_that_has_not_changed_is_loaded_once_and_one_that_has_is_loaded_anew(
    loader: PluginLoader, tmp_path: Path
) -> None:
    path = write_plugin(tmp_path, GOOD)
    spec = spec_of(path)
    first = loader.load([spec])[0]
    assert loader.load([spec])[0] is first
    write_plugin(tmp_path, GOOD + 'VERSION = "new"\n')
    second = loader.load([spec])[0]
    assert second is not first
    assert second.version == "new"
    other = loader.load([spec_of(path, options={"a": 1})])[0]
    assert other is not second


def test_what_serves_goes_on_while_others_are_only_tried_and_ends_when_it_is_let_go_of(
    loader: PluginLoader, tmp_path: Path
) -> None:
    path = write_plugin(tmp_path, GOOD)
    serving = loader.load([spec_of(path)])[0]
    write_plugin(tmp_path, GOOD + 'VERSION = "new"\n')
    tried, _ = loader.load([spec_of(path, options={"a": 1}), spec_of(path)])
    assert tried.fault is None
    serving.call_blocking("test", lambda: None)
    loader.keep([tried])
    deadline = time.monotonic() + 5
    while _answers(serving):  # its thread ends when it comes to it
        assert time.monotonic() < deadline


def _answers(plugin: Plugin) -> bool:
    try:
        plugin.call_blocking("test", time.sleep, 0.005)
    except PluginError:
        return False
    return True


def test_one_that_serves_keeps_its_name_where_another_comes_before_it(
    loader: PluginLoader, tmp_path: Path
) -> None:
    spec = spec_of(write_plugin(tmp_path, GOOD))
    serving = loader.load([spec])[0]
    other, again = loader.load([spec_of(tmp_path / "demo.py", options={"a": 1}), spec])
    assert again is serving
    assert serving.fault is None
    assert "taken" in fault_of_double(other)


def test_one_that_could_not_be_loaded_is_tried_again(loader: PluginLoader, tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "demo.py")
    assert loader.load([spec])[0].fault is not None
    write_plugin(tmp_path, GOOD)
    assert loader.load([spec])[0].fault is None


def test_the_first_of_two_has_a_name_and_the_first_of_two_has_a_probe(
    loader: PluginLoader, tmp_path: Path
) -> None:
    path = write_plugin(tmp_path, GOOD)
    one, same_name, same_probe = loader.load(
        [spec_of(path), spec_of(path, options={"b": 1}), spec_of(path, name="other", options={"c": 1})]
    )
    assert one.fault is None
    assert "plugin 'demo' is taken" in fault_of_double(same_name)
    assert "probe 'demo' is taken" in fault_of_double(same_probe)


def fault_of_double(plugin: Plugin) -> str:
    assert plugin.fault is not None
    return plugin.fault.message


def test_a_disabled_plugin_is_not_run(loader: PluginLoader, tmp_path: Path) -> None:
    plugin = load_text(loader, tmp_path, "raise AssertionError('it was run')", enabled=False)
    assert plugin.fault is None
    assert plugin.state(0.0) == "disabled"


def test_a_module_on_the_path_is_a_plugin_too(
    loader: PluginLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path, GOOD, "plugin_on_the_path_of_a_test.py")
    monkeypatch.syspath_prepend(tmp_path)
    plugin = loader.load([spec_of(Path("plugin_on_the_path_of_a_test"))])[0]
    sys.modules.pop("plugin_on_the_path_of_a_test", None)
    assert plugin.fault is None, plugin.fault


def test_installed_packages_bring_plugins_where_the_settings_want_them(
    loader: PluginLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path, GOOD, "plugin_of_a_package_of_a_test.py")
    facts = tmp_path / "demo_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n", encoding="utf-8"
    )
    (facts / "entry_points.txt").write_text(
        "[orchestra_supervisor.plugins]\ndemo = plugin_of_a_package_of_a_test\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert loader.load_wanted([], entry_points=False) == []
    [plugin] = loader.load_wanted([], entry_points=True)
    assert plugin.spec.source == "entry-point:demo"
    assert loader.load_wanted([plugin.spec], entry_points=True) == [plugin], (
        "one that is named is not doubled"
    )
    sys.modules.pop("plugin_of_a_package_of_a_test", None)
    assert plugin.fault is None, plugin.fault


def test_a_plugin_gets_its_options_and_its_faults_are_its_own(loader: PluginLoader, tmp_path: Path) -> None:
    text = """
    @hookimpl
    def register_probes(context):
        context.allow("port")
        raise ValueError(f"option `port` is {context.options['port']}")
    """
    assert "option `port` is 9" in fault_of(load_text(loader, tmp_path, text, options={"port": 9}))
    assert "unknown option 'prot'; known: port" in fault_of(
        load_text(loader, tmp_path, text, options={"prot": 9})
    )


def test_the_line_numbers_of_faults_count_the_head() -> None:
    assert HEAD.count("\n") == 7
