"""Files of supervisord, read by its own parser and by ours: the same values, field by field."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from supervisor import datatypes, events
from supervisor.options import EventListenerPoolConfig, FastCGIGroupConfig, ServerOptions

from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.load import load_fleet
from orchestra_supervisor.rules.graph import start_order
from tests.unit.config.config_testing import codes, only

HERE = Path(__file__).parent
FILES = sorted((HERE / "supervisord_files").glob("*.conf"))
ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/somebody", "PRIO": "7"}


def stock(path: Path, environ: dict[str, str] = ENVIRON):
    """What supervisord itself makes of a file."""
    options = ServerOptions()
    options.environ_expansions = {f"ENV_{name}": value for name, value in environ.items()}
    options.configfile = str(path)
    options.here = str(path.parent)
    section = options.read_config(str(path))
    section.warnings = list(options.parse_warnings)
    return section


def ours(path: Path, environ: dict[str, str] = ENVIRON):
    result = load_fleet([path], environ=environ)
    assert result.errors == (), [finding.message for finding in result.errors]
    return result


def by_name(fleet) -> dict[tuple[str, str], object]:
    return {(spec.supervisor.group, spec.supervisor.process): spec for spec in fleet.services.values()}


def logfile_of(value) -> str | None:
    if value is datatypes.Automatic:
        return "auto"
    if value is None:
        return None
    path = os.path.normpath(Path.cwd() / value)
    return {"/dev/fd/1": "/dev/stdout", "/dev/fd/2": "/dev/stderr"}.get(path, path)


def word_of(autorestart) -> str:
    return {
        datatypes.RestartUnconditionally: "true",
        datatypes.RestartWhenExitUnexpected: "unexpected",
        False: "false",
    }[autorestart]


def expected_names(group, process) -> dict[str, object]:
    """What supervisord's own objects say of a process, in the words of `SupervisorName`."""
    kind = {EventListenerPoolConfig: "eventlistener", FastCGIGroupConfig: "fcgi"}.get(type(group), "program")
    said = {
        "group": group.name,
        "process": process.name,
        "kind": kind,
        "group_priority": min(group.priority, 1_000_000_000),
        "priority": min(process.priority, 1_000_000_000),
        "command": process.command,
        "directory": process.directory,
        "startsecs": process.startsecs,
        "startretries": process.startretries,
        "autostart": process.autostart,
        "autorestart": word_of(process.autorestart),
        "exitcodes": tuple(process.exitcodes),
        "stopsignal": signal.Signals(process.stopsignal).name,
        "stopwaitsecs": process.stopwaitsecs,
        "stopasgroup": process.stopasgroup,
        "killasgroup": process.killasgroup,
        "redirect_stderr": process.redirect_stderr,
        "serverurl": process.serverurl,
    }
    for stream in ("stdout", "stderr"):
        said[stream] = {
            "logfile": logfile_of(getattr(process, f"{stream}_logfile")),
            "maxbytes": getattr(process, f"{stream}_logfile_maxbytes"),
            "backups": getattr(process, f"{stream}_logfile_backups"),
            "syslog": getattr(process, f"{stream}_syslog"),
            "capture_maxbytes": getattr(process, f"{stream}_capture_maxbytes"),
            "events_enabled": getattr(process, f"{stream}_events_enabled"),
        }
    if kind == "eventlistener":
        said["events"] = {events.getEventNameByType(one) for one in group.pool_events}
        said["buffer_size"] = group.buffer_size
    return said


def own_names(spec) -> dict[str, object]:
    said = spec.supervisor.model_dump(exclude={"user", "events", "buffer_size"})
    if spec.supervisor.kind == "eventlistener":
        said["events"] = set(spec.supervisor.events)
        said["buffer_size"] = spec.supervisor.buffer_size
    return said


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_clients_are_told_of_every_process_what_supervisord_tells_them(path):
    expected = {
        (group.name, process.name): expected_names(group, process)
        for group in stock(path).process_group_configs
        for process in group.process_configs
    }
    assert {name: own_names(spec) for name, spec in by_name(ours(path).fleet).items()} == expected


def address_of(section) -> str | None:
    for family in (socket.AF_UNIX, socket.AF_INET):
        for config in section.server_configs:
            if config["family"] is family:
                host = config.get("host") or "localhost"
                return f"unix://{config['file']}" if "file" in config else f"http://{host}:{config['port']}"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_process_is_run_as_supervisord_runs_it(path):
    section = stock(path)
    services = by_name(ours(path).fleet)
    base = Path.cwd() / ("" if section.nodaemon else section.directory or "")
    for group in section.process_group_configs:
        for process in group.process_configs:
            spec = services[group.name, process.name]
            argv = tuple(shlex.split(process.command))
            if isinstance(group, FastCGIGroupConfig):
                assert spec.argv == ("/bin/sh", "-c", 'exec "$@" 0<&3 3<&-', "sh", *argv)
            else:
                assert spec.argv == argv
            url = process.serverurl or address_of(section)
            assert spec.env == {
                "SUPERVISOR_ENABLED": "1",
                **({"SUPERVISOR_SERVER_URL": url} if url else {}),
                "SUPERVISOR_PROCESS_NAME": process.name,
                "SUPERVISOR_GROUP_NAME": group.name,
                **process.environment,
            }
            assert spec.inherit_env
            assert spec.cwd == os.path.normpath(base / (process.directory or ""))
            assert spec.enabled is process.autostart
            assert (spec.start.after, spec.start.retries, spec.start.delay) == (
                process.startsecs,
                process.startretries,
                1.0,
            )
            assert spec.startup_timeout == 0
            policy = {"true": "always", "false": "never", "unexpected": "on-failure"}
            assert spec.restart.policy == policy[word_of(process.autorestart)]
            assert spec.restart.success_exit_codes == tuple(process.exitcodes)
            assert (spec.restart.max_restarts, spec.restart.stable_after) == (None, 0)
            assert (spec.restart.backoff.initial, spec.restart.backoff.first_immediate) == (0, True)
            (step,) = spec.stop.steps
            assert step.signal == signal.Signals(process.stopsignal).name
            assert step.wait == process.stopwaitsecs
            assert spec.stop.scope == ("group" if process.stopasgroup else "leader")
            umask = (
                process.umask if process.umask is not None else None if section.nodaemon else section.umask
            )
            assert spec.umask == umask
            uid = datatypes.name_to_uid(spec.user) if spec.user else None
            whole = datatypes.name_to_uid(section.user) if section.user else None
            assert uid == (whole if process.uid is None else process.uid)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_processes_are_started_in_the_order_of_supervisord(path):
    section = stock(path)
    groups = sorted(section.process_group_configs)
    expected = [(group.name, one.name) for group in groups for one in sorted(group.process_configs)]
    fleet = ours(path).fleet
    found = [fleet.services[name].supervisor for name in start_order(fleet.services)]
    assert [(one.group, one.process) for one in found] == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_output_goes_where_the_file_wants_it(path):
    services = by_name(ours(path).fleet)
    for group in stock(path).process_group_configs:
        for process in group.process_configs:
            files: dict[str, list[object]] = {}
            sinks: dict[str, str] = {}
            streams = ("stdout",) if process.redirect_stderr else ("stdout", "stderr")
            for stream in streams:
                target = logfile_of(getattr(process, f"{stream}_logfile"))
                taken = "both" if process.redirect_stderr or target in {**files, **sinks} else stream
                if target in ("/dev/stdout", "/dev/stderr"):
                    sinks[target] = taken
                elif target not in (None, "auto"):
                    limits = [getattr(process, f"{stream}_logfile_{key}") for key in ("maxbytes", "backups")]
                    files[target] = [taken, *limits]
                if getattr(process, f"{stream}_syslog"):
                    both = process.redirect_stderr or "/dev/log" in sinks
                    sinks["/dev/log"] = "both" if both else stream
            log = services[group.name, process.name].log
            assert {one.path: [one.stream, one.max_bytes, one.backups] for one in log.files} == files
            assert {one.address: one.stream for one in log.sinks} == sinks


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_servers_are_those_of_supervisord(path):
    section = stock(path)
    spec = ours(path).fleet.settings.supervisor
    assert spec.identifier == section.identifier
    found = {}
    for server in filter(None, (spec.unix, *spec.inet)):
        key = server.path or (server.host, server.port)
        found[key] = (server.mode, server.owner, server.auth.username if server.auth else None)
    expected = {}
    for config in section.server_configs:
        key = config.get("file") or (config["host"], config["port"])
        chown = config.get("chown", (-1, -1))
        owner = None if chown == (-1, -1) else chown
        expected[key] = (config.get("chmod", 0o700), owner, config["username"])
        if config["username"]:
            auth = next(
                one.auth
                for one in (spec.unix, *spec.inet)
                if one and (one.path or (one.host, one.port)) == key
            )
            password = "thepassword" if config["password"].startswith("{SHA}") else config["password"]
            assert auth.accepts(config["username"], password)
            assert not auth.accepts(config["username"], password + "x")
    assert found == expected


def test_sockets_of_fcgi_programs_are_those_of_supervisord():
    path = HERE / "supervisord_files" / "07_fcgi.conf"
    services = by_name(ours(path).fleet)
    for group in stock(path).process_group_configs:
        config = group.socket_config
        for process in group.process_configs:
            (one,) = services[group.name, process.name].sockets
            assert one.backlog == (config.backlog or 4096)
            if one.kind == "unix":
                assert (one.path, one.mode) == (config.path, config.mode)
                assert (datatypes.name_to_uid(one.user), -1) == config.owner
            else:
                assert (one.port, {"127.0.0.1": "localhost"}[one.host]) == (config.port, config.host)


def test_names_of_services_are_those_of_processes_as_far_as_may_be():
    fleet = ours(HERE / "supervisord_files" / "31_odd_names.conf").fleet
    names = {spec.supervisor.namespec: name for name, spec in fleet.services.items()}
    long = "a_very_long_name_that_goes_on_and_on_and_is_longer_than_any_service_may_be"
    plain = {"with.dots": "with.dots", "a:b.c": "a.b.c"}
    assert {name: names[name] for name in plain} == plain
    for odd, begin in {
        "with@at": "with_at-",
        "-dash": "dash-",
        "pl+us,comma": "pl_us_comma-",
        long: long[:55] + "-",
        "a.b:c": "a.b.c-",
    }.items():
        assert names[odd].startswith(begin)
        assert len(names[odd]) <= 64
    assert len(set(names.values())) == len(names)
    assert fleet.services["a.b.c"].tags == ("a",)


# What supervisord refuses or does not do, and we do.


def test_a_byte_order_mark_is_skipped_where_supervisord_refuses_the_file(tmp_path):
    path = tmp_path / "s.conf"
    path.write_text("\ufeff[supervisord]\n[program:x]\ncommand=x\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no section headers"):
        stock(path)
    assert list(ours(path).fleet.services) == ["x"]


def test_users_and_folders_of_another_host_concern_their_programs_alone(tmp_path):
    path = tmp_path / "s.conf"
    path.write_text(
        "[supervisord]\n[program:x]\ncommand=/bin/cat\nuser=nobody-at-all\nstdout_logfile=/no/such/x.log\n",
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match="Invalid user name"):
        stock(path)
    spec = ours(path).fleet.services["x"]
    assert (spec.user, spec.log.files[0].path) == ("nobody-at-all", "/no/such/x.log")


def test_a_file_without_a_supervisord_section_has_its_defaults(load):
    result = load("[program:x]\ncommand=x\n", "s.conf")
    assert list(result.fleet.services) == ["x"]
    assert only(result, "supervisord.no_section").severity is Severity.INFO


# What is wrong is said with its line.

BAD = {
    "no section": ("command=x\n[supervisord]\n", 1, "before the first section"),
    "no option": ("[supervisord]\n[program:x]\ncommand\n", 3, "neither a section, nor an option"),
    "no command": ("[supervisord]\n\n[program:x]\nautostart=true\n", 3, "does not specify a command"),
    "truth": ("[supervisord]\n[program:x]\ncommand=x\nautostart=maybe\n", 4, "not a valid boolean value"),
    "number": ("[supervisord]\n[program:x]\ncommand=x\nstartsecs=1s\n", 4, "invalid literal for int"),
    "size": ("[supervisord]\n[program:x]\ncommand=x\nstdout_logfile_maxbytes=1.5MB\n", 4, "invalid literal"),
    "signal": ("[supervisord]\n[program:x]\nstopsignal=FOO\ncommand=x\n", 3, "not a valid signal"),
    "exit codes": ("[supervisord]\n[program:x]\ncommand=x\nexitcodes=0,256\n", 4, "exit codes"),
    "autorestart": ("[supervisord]\n[program:x]\ncommand=x\nautorestart=often\n", 4, "invalid 'autorestart'"),
    "umask": ("[supervisord]\n[program:x]\ncommand=x\numask=9\n", 4, "octal"),
    "environment": ("[supervisord]\n[program:x]\ncommand=x\nenvironment=A\n", 4, "key/value pairs"),
    "quote": ("[supervisord]\n[program:x]\ncommand=echo 'a\n", 3, "cannot be split into words"),
    "empty": ("[supervisord]\n[program:x]\ncommand=\n", 3, "is empty"),
    "unset": (
        "[supervisord]\n[program:x]\ncommand=x %(ENV_NOPE)s\n",
        3,
        "uses %(ENV_NOPE)s, which is not set",
    ),
    "percent": ("[supervisord]\n[program:x]\ncommand=date +%Y\n", 3, "percent sign"),
    "numprocs": ("[supervisord]\n[program:x]\ncommand=x\nnumprocs=2\n", 2, "process_num"),
    "process_name": ("[supervisord]\n[program:x]\ncommand=x\nprocess_name=a:b\n", 4, "Invalid name"),
    "name": ("[supervisord]\n[program:x y]\ncommand=x\n", 2, "Invalid name"),
    "stopasgroup": (
        "[supervisord]\n[program:x]\ncommand=x\nstopasgroup=1\nkillasgroup=0\n",
        5,
        "Cannot set stopasgroup=true",
    ),
    "group": ("[supervisord]\n[group:g]\npriority=1\nprograms=x\n", 4, "unknown program"),
    "listener": ("[supervisord]\n[eventlistener:l]\ncommand=x\n", 2, "has no `events`"),
    "event": ("[supervisord]\n[eventlistener:l]\ncommand=x\nevents=TICK_7\n", 4, "unknown event type TICK_7"),
    "buffer": ("[supervisord]\n[eventlistener:l]\ncommand=x\nevents=TICK\nbuffer_size=0\n", 5, "1 or more"),
    "protocol": (
        "[supervisord]\n[eventlistener:l]\ncommand=x\nevents=TICK\nredirect_stderr=1\n",
        5,
        "listener's protocol",
    ),
    "fcgi": ("[supervisord]\n[fcgi-program:f]\ncommand=x\n", 2, "has no `socket`"),
    "address": ("[supervisord]\n[fcgi-program:f]\ncommand=x\nsocket=udp://a\n", 4, "must be unix"),
    "auth": (
        "[supervisord]\n[inet_http_server]\nport=9001\nusername=x\n",
        2,
        "only one of username and password",
    ),
    "port": ("[supervisord]\n[inet_http_server]\nport=http\n", 3, "not a valid port number"),
    "file": ("[supervisord]\n[unix_http_server]\nchmod=0700\n", 2, "has no `file`"),
    "include": ("[supervisord]\n[include]\n", 2, "has no `files`"),
    "interface": ("[supervisord]\n[rpcinterface:x]\na=b\n", 2, "rpcinterface_factory"),
    "head": ("[supervisord]\nnodaemon=perhaps\n", 2, "not a valid boolean value"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_supervisord_refuses_is_refused_with_its_line_and_a_way_out(name, tmp_path):
    text, line, said = BAD[name]
    path = tmp_path / "s.conf"
    path.write_text(text, encoding="utf-8")
    if name not in {"quote", "empty"}:  # of these it says so when it starts the program
        with pytest.raises((ValueError, SystemExit)):
            stock(path)
    result = load_fleet([path], environ=ENVIRON)
    (finding,) = result.errors
    assert (finding.where[0].path, finding.where[0].line) == (str(path), line)
    assert said in finding.message
    assert finding.hint


def test_all_faults_of_a_file_are_said_at_once_and_name_their_own_files(write, tmp_path):
    write("[program:b]\ncommand=b\nautostart=x\n", "conf.d/b.conf")
    path = write("[supervisord]\n[include]\nfiles=conf.d/*.conf\n[program:a]\ncommand=a\numask=8\n", "s.conf")
    result = load_fleet([path], environ=ENVIRON)
    assert [(one.where[0].path, one.where[0].line, one.field) for one in result.errors] == [
        (str(path), 6, "umask"),
        (str(tmp_path / "conf.d/b.conf"), 3, "autostart"),
    ]
    assert result.sources.files == (path, tmp_path / "conf.d/b.conf")
    assert result.sources.globs == (str(tmp_path / "conf.d/*.conf"),)


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "s.conf"
    path.write_bytes(b"[supervisord]\n[program:x]\ncommand=\xe4\n")
    (finding,) = load_fleet([path], environ=ENVIRON).errors
    assert (finding.code, finding.where[0].line) == ("file.encoding", 3)


def test_no_value_of_a_variable_and_no_password_is_in_any_finding(load):
    result = load(
        "[supervisord]\nenvironment=A=\n[unix_http_server]\nfile=/x\nusername=u\n"
        "password=%(ENV_NO)s hunter2\n"
        "[program:x]\ncommand=x %(ENV_NONE)s --token=hunter2\n",
        "s.conf",
        SECRET="hunter2",
    )
    assert len(result.errors) == 3
    assert not [line for one in result.findings for line in one.render() if "hunter2" in line]


# What holds otherwise than it is written is said.


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        ("[supervisord]\npidfile=/tmp/x.pid\n", "supervisord.pidfile", 2),
        ("[supervisord]\nstrip_ansi=true\n", "supervisord.strip_ansi", 2),
        ("[supervisord]\nminfds=10\n", "supervisord.not_needed", 2),
        ("[supervisord]\nuser=root\n", "supervisord.user", 2),
        ("[supervisord]\nlogfile=/tmp/x.log\n", "supervisord.logfile", 2),
        ("[supervisord]\nnodaemon=true\ndirectory=/tmp\n", "supervisord.unused", 3),
        ("[supervisord]\n[program:x]\ncommand=x\nkillasgroup=false\n", "supervisord.killasgroup", 4),
        (
            "[supervisord]\n[program:x]\ncommand=x\nstdout_logfile=NONE\nstderr_logfile=NONE\n",
            "supervisord.log_none",
            4,
        ),
        (
            "[supervisord]\n[program:x]\ncommand=x\nredirect_stderr=true\nstderr_logfile=/tmp/e\n",
            "supervisord.unused",
            5,
        ),
        ("[supervisord]\n[program:x]\ncommand=x\nstdout_logfile_maxbytes=0\n", "supervisord.warning", 2),
        (
            "[supervisord]\n[rpcinterface:z]\nsupervisor.rpcinterface_factory=os.path:join\n",
            "supervisord.rpcinterface",
            3,
        ),
        ("[supervisord]\n[include]\nfiles=none/*.conf\n", "include.empty", 3),
        ("[supervisord]\n[program:x]\ncommand=x\nstrtsecs=1\n", "key.unknown", 4),
        ("[supervisord]\n[porgram:x]\ncommand=x\n", "key.unknown", 2),
        ("[supervisord]\n[program:x]\ncommand=x\ncommand=y\n", "ini.twice", 4),
        (
            "[supervisord]\n[program:x]\ncommand=x\n[eventlistener:x]\ncommand=y\nevents=TICK\n",
            "supervisord.group_twice",
            2,
        ),
        (
            "[supervisord]\n[eventlistener:x]\ncommand=x\nevents=TICK\nresult_handler=mine:judge\n",
            "supervisord.result_handler",
            5,
        ),
    ],
)
def test_what_is_not_followed_is_said_with_its_line(load, lines, code, line):
    result = load(lines, "s.conf")
    assert result.errors == ()
    assert only(result, code).where[0].line == line


def test_a_plain_file_is_read_without_a_word(load):
    assert codes(load("[supervisord]\nnodaemon=true\n[program:x]\ncommand=x\n", "s.conf")) == []


def test_places_of_values_lead_to_options(load):
    result = load("[supervisord]\n[program:x]\ncommand=x\ndirectory=/srv\nenvironment=A=1\n", "s.conf")
    sources = result.sources
    assert sources.where("x", "cwd").line == 4
    assert sources.where("x", "env", "A").line == 5
    assert sources.field("x", "cwd") == "directory"


def test_the_order_of_what_is_read_does_not_depend_on_line_ends_or_a_mark(load):
    text = "[supervisord]\n[program:x]\ncommand=x\n  y\nautostart=nope\n"
    for variant in (text, text.replace("\n", "\r\n"), "\ufeff" + text, text.replace("\n", "\r")):
        (finding,) = load(variant, "s.conf").errors
        assert finding.where[0].line == 5


def test_whoever_asks_for_encodings_hears_nothing_of_the_packages_own_files(tmp_path):
    path = tmp_path / "supervisord.conf"
    path.write_text("[program:x]\ncommand=/bin/true\n", encoding="utf-8")
    asking = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    done = subprocess.run(
        [sys.executable, "-P", *asking, "-m", "orchestra_supervisor", "check", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
