"""A fleet as plain units: what they say, what they admit to lose, and that systemd takes them."""

import shutil
from pathlib import Path

import pytest

from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.systemd import service_unit
from orchestra_supervisor.systemd.export import Exported, export_fleet
from orchestra_supervisor.systemd.service_unit import Place
from tests.unit.systemd.analyze import needs_analyze, verify
from tests.unit.systemd.unit_reader import command_words, settings, words


def spec(name: str = "web", **fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": name, "argv": ("/bin/true",), "cwd": "/", **fields})


def export(*specs: ServiceSpec, version: int = 252, is_user: bool = False) -> Exported:
    fleet = Fleet(services={one.name: one for one in specs})
    return export_fleet(fleet, Place("fleet", version, is_user))


def unit(one: ServiceSpec, version: int = 252, *, is_user: bool = False) -> dict[str, list[str]]:
    return settings(export(one, version=version, is_user=is_user).files["fleet-web.service"])


def lost(one: ServiceSpec, version: int = 252) -> str:
    return "\n".join(export(one, version=version).lost.get("web", ()))


EVERYTHING = spec(
    argv=("/bin/sh", "-c", "echo \"$HOME\" 100% 'a b' ; exit", "", ";"),
    cwd="/tmp",
    title="Web \\ 50%\nof it\\",
    env={"A": 'b "c" $d 50% \\ e\nf', "DB": "secret:db.password", "URL": "x://${secret:db.password}@h"},
    user="daemon",
    group="nogroup",
    groups=("daemon",),
    umask=0o27,
    nice=5,
    oom_score_adj=100,
    rlimits={"nofile": {"soft": 1000, "hard": 2000}, "core": {"soft": None, "hard": None}},
    port=8000,
    start_delay=2,
    restart={"policy": "on-failure", "success_exit_codes": (0, 3), "max_restarts": 4, "window": 60},
    stop={"steps": [{"signal": "INT", "wait": 2}, {"signal": "TERM", "wait": 5}]},
    probes={"readiness": {"check": {"type": "tcp", "port": 8000}}},
    depends_on={"job@1": {"condition": "completed"}, "db": {"on_failure": "restart"}},
)
EQUIPPED = spec(
    "equipped",
    pre_start=[{"argv": ("/bin/true", "a b"), "timeout": 20}],
    post_stop=[{"argv": ("/bin/true",), "timeout": 40}],
    reload={"signal": "SIGHUP"},
    sockets=[
        {"name": "web", "host": "127.0.0.1", "port": 8000, "backlog": 5},
        {"name": "dns", "kind": "udp", "host": "::1", "port": 53},
        {"name": "ctl", "kind": "unix", "path": "/run/x y/100%.sock", "mode": 0o660, "user": "daemon"},
    ],
    start_on="connection",
    notify=True,
    watchdog=5,
    limits={"memory": 2**30, "cpu": 1.5, "pids": 50},
    recycle={"age": 3600, "memory": 2**31},
)
OTHERS = (
    EQUIPPED,
    spec("job@1", kind="once", restart={"policy": "never"}),
    spec(
        "db", restart={"policy": "always", "max_restarts": None}, required_for_system=True, stop={"steps": []}
    ),
    spec("off", enabled=False),
    spec("again", kind="once", restart={"policy": "on-failure"}, start_delay=1),
)


@needs_analyze
@pytest.mark.slow  # systemd reads every unit of the host
@pytest.mark.parametrize("is_user", [False, True])
def test_systemd_finds_nothing_wrong_with_any_of_them(tmp_path: Path, *, is_user: bool) -> None:
    exported = export(EVERYTHING, *OTHERS, is_user=is_user)
    assert len(exported.files) == 10
    assert not verify(tmp_path, exported.files, is_user=is_user)


def test_command_and_environment_are_what_they_were() -> None:
    said = unit(EVERYTHING)
    assert command_words(said["ExecStart"][0]) == list(EVERYTHING.argv)
    assert [words(one) for one in said["Environment"]] == [[f"A={EVERYTHING.env['A']}"], ["PORT=8000"]]
    assert said["Description"] == ["Web \\ 50%% of it"]


def test_identity_and_limits_carry_over() -> None:
    said = unit(EVERYTHING)
    for key, value in {
        "User": "daemon",
        "Group": "nogroup",
        "SupplementaryGroups": "daemon",
        "UMask": "0027",
        "Nice": "5",
        "OOMScoreAdjust": "100",
        "LimitNOFILE": "1000:2000",
        "LimitCORE": "infinity",
        "WorkingDirectory": "/tmp",
    }.items():
        assert said[key] == [value]
    assert not {"User", "Group", "SupplementaryGroups"} & unit(EVERYTHING, is_user=True).keys()


def test_a_secret_is_a_credential_and_never_a_value() -> None:
    said = unit(EVERYTHING)
    assert said["LoadCredential"] == ["db.password:%E/fleet/credentials/db.password"]
    assert "DB is the file $CREDENTIALS_DIRECTORY/db.password" in lost(EVERYTHING)
    assert "URL is the file" in lost(EVERYTHING)
    assert "API_TOKEN stands here for everybody to read" in lost(spec(env={"API_TOKEN": "x"}))


def test_dependencies_are_required_and_what_they_cannot_wait_for_is_told() -> None:
    said = unit(EVERYTHING)
    assert said["After"] == ["fleet-job\\x401.service", "fleet-db.service"]
    assert said["Requires"] == ["fleet-job\\x401.service"]
    assert said["BindsTo"] == ["fleet-db.service"]
    assert "waits until db runs, not until it is ready" in lost(EVERYTHING)
    assert "job@1 runs" not in lost(EVERYTHING), "a job that is completed is just what systemd waits for"


def test_restarts_keep_their_policy_and_their_limit() -> None:
    said = unit(EVERYTHING)
    assert said["Restart"] == ["on-failure"]
    assert said["SuccessExitStatus"] == ["3"]
    assert (said["StartLimitIntervalSec"], said["StartLimitBurst"]) == (["60"], ["5"])
    assert unit(spec(restart={"policy": "always", "max_restarts": None}))["StartLimitIntervalSec"] == ["0"]
    never = unit(spec(restart={"policy": "never"}))
    assert never["Restart"] == ["no"]
    assert "StartLimitBurst" not in never
    job = spec(kind="once", restart={"policy": "always"})
    assert unit(job)["Restart"] == ["on-failure"]
    assert "a job that succeeded is not run again" in lost(job)
    assert "exit code 0 is always a success" in lost(spec(restart={"success_exit_codes": (3,)}))


def test_growing_delays_need_a_systemd_that_has_them() -> None:
    one = spec(restart={"backoff": {"initial": 1, "multiplier": 2, "cap": 60}})
    said = unit(one, version=254)
    assert (said["RestartSec"], said["RestartSteps"], said["RestartMaxDelaySec"]) == (["1"], ["6"], ["60"])
    assert "RestartSteps" not in unit(one, version=253)
    assert "do not grow to 60 s" in lost(one, version=253)
    assert "grow" not in lost(one, version=254)


def test_jobs_are_completed_and_delays_are_slept() -> None:
    job = unit(spec(kind="once"))
    assert (job["Type"], job["RemainAfterExit"], job["TimeoutStartSec"]) == (
        ["oneshot"],
        ["yes"],
        ["infinity"],
    )
    assert unit(spec(start_delay=2.5))["ExecStartPre"] == ["/bin/sleep 2.5"]


def test_probes_and_priorities_are_told_as_lost() -> None:
    probes = {
        "startup": {"check": {"type": "command", "argv": ("check", "--token", "hunter2")}},
        "liveness": {"check": {"type": "http", "url": "http://localhost/health"}, "period": 3},
    }
    told = lost(spec(probes=probes, priority=5))
    assert "startup probe: command check every 10 s" in told
    assert "hunter2" not in told
    assert "liveness probe: http GET http://localhost/health every 3 s" in told
    assert "no limit of 60 s for becoming ready" in told
    assert "priority 5" in told


def test_a_program_is_looked_for_where_the_service_would_find_it(tmp_path: Path) -> None:
    program = tmp_path / "serve"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    assert unit(spec(argv=("serve",), env={"PATH": str(tmp_path)}))["ExecStart"] == [str(program)]
    assert unit(spec(argv=("sh",)))["ExecStart"] == [shutil.which("sh")]
    assert unit(spec(argv=("./serve",), cwd="/srv/x"))["ExecStart"] == ["/srv/x/serve"]
    assert "no-such-program is not on the PATH" in lost(spec(argv=("no-such-program",)))


def test_the_target_starts_what_is_enabled_and_requires_what_the_system_requires() -> None:
    target = settings(export(*OTHERS[1:]).files["fleet.target"])
    assert target["Requires"] == ["fleet-db.service"]
    assert target["Wants"] == ["fleet-job\\x401.service", "fleet-again.service"]
    off = export(*OTHERS).files["fleet-off.service"]
    assert "WantedBy" not in settings(off)
    assert "enabled: false" in off


def test_equipment_carries_over() -> None:
    exported = export(EQUIPPED)
    said = settings(exported.files["fleet-equipped.service"])
    for key, value in {
        "Type": "notify",
        "NotifyAccess": "all",
        "TimeoutStartSec": "80",
        "ExecStartPre": '/bin/true "a b"',
        "ExecStopPost": "/bin/true",
        "ExecReload": "/bin/kill -s SIGHUP $MAINPID",
        "TimeoutStopSec": "40",
        "WatchdogSec": "5",
        "MemoryMax": str(2**30),
        "CPUQuota": "150%",
        "TasksMax": "50",
        "RuntimeMaxSec": "3600",
    }.items():
        assert said[key] == [value]
    told = "\n".join(exported.lost["equipped"])
    assert "not recycled at 2147483648 bytes" in told
    assert "the order of its sockets" in told
    job = export(spec(kind="once", notify=True))
    assert settings(job.files["fleet-web.service"])["Type"] == ["oneshot"]
    assert "a job says nothing of itself" in "".join(job.lost["web"])


def test_sockets_are_units_that_start_what_waits_for_a_connection() -> None:
    exported = export(EQUIPPED)
    sockets = [f"fleet-equipped-{name}.socket" for name in ("web", "dns", "ctl")]
    assert settings(exported.files["fleet.target"])["Wants"] == sockets
    service = settings(exported.files["fleet-equipped.service"])
    assert service["Sockets"] == sockets
    assert "WantedBy" not in service
    web, dns, ctl = (settings(exported.files[name]) for name in sockets)
    assert (web["ListenStream"], web["Backlog"]) == (["127.0.0.1:8000"], ["5"])
    assert (dns["ListenDatagram"], dns["FileDescriptorName"]) == (["[::1]:53"], ["dns"])
    assert (ctl["ListenStream"], ctl["SocketMode"], ctl["SocketUser"]) == (
        ["/run/x y/100%%.sock"],
        ["0660"],
        ["daemon"],
    )
    both = export(spec(sockets=[{"name": "web", "host": "127.0.0.1", "port": 1}]))
    assert settings(both.files["fleet.target"])["Wants"] == ["fleet-web-web.socket", "fleet-web.service"]


def test_each_replica_is_a_unit_that_knows_how_many_there_are() -> None:
    replica = {"group": "web", "number": 2, "count": 3}
    one = spec("web@2", env={"ORCHESTRA_REPLICA": "2"}, replica=replica)
    exported = export(one)
    assert not any("counterpart" in words for words in exported.lost["web@2"])
    unit = settings(exported.files["fleet-web\\x402.service"])
    assert unit["Environment"] == ["ORCHESTRA_REPLICA=2", "ORCHESTRA_REPLICAS=3"]


def test_a_key_that_the_export_has_never_heard_of_is_told_and_not_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "counterpart" not in lost(EVERYTHING)
    monkeypatch.setattr(service_unit, "_KNOWN", service_unit._KNOWN - {"nice", "umask"})
    told = lost(spec(nice=3))
    assert "`nice` has no counterpart here" in told
    assert "umask" not in told, "a default is no loss"


def test_what_starts_on_demand_is_a_unit_that_nothing_starts() -> None:
    done = export(spec("tool", start_on="demand"), spec())
    assert "Install" not in done.files["fleet-tool.service"]
    assert settings(done.files["fleet.target"])["Wants"] == ["fleet-web.service"]


def test_a_stdio_server_is_no_unit_and_that_is_told() -> None:
    done = export(spec("tool", stdio=True), spec())
    assert sorted(done.files) == ["fleet-web.service", "fleet.target"]
    assert done.lost["tool"] == (
        "it is an MCP server on its stdin and stdout, and nobody there would talk to it: no unit",
    )


def test_an_event_listener_is_no_unit_and_that_is_told() -> None:
    names = {"group": "mail", "process": "mail", "kind": "eventlistener", "events": ("EVENT",)}
    done = export(spec("mail", supervisor=names), spec())
    assert sorted(done.files) == ["fleet-web.service", "fleet.target"]
    assert done.lost["mail"] == (
        "it is an event listener, and nobody there would tell it of events: no unit",
    )
