"""Files of other tools, rewritten into the native form: it means the same, and says where values are from."""

import json
import re
from pathlib import Path

import pytest

from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.importers.names import fitting_name
from orchestra_supervisor.config.importers.run import import_files
from orchestra_supervisor.config.jsonc import parse
from orchestra_supervisor.config.load import load_fleet
from tests.unit.config.test_config_supervisord import ENVIRON, FILES


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def imported(*names: str):
    result = import_files([Path(name) for name in names], ENVIRON)
    assert result.count(Severity.ERROR) == 0, [finding.message for finding in result.findings]
    return result


def fleet_of(text: str, path: Path = Path("orchestra.json"), **environ: str):
    path.write_text(text, encoding="utf-8")
    result = load_fleet([path], environ=ENVIRON | environ)
    assert result.errors == (), [finding.message for finding in result.errors]
    return result.fleet


def body_of(text: str) -> dict:
    root = parse(text, "text").root
    assert root is not None
    return root.to_python()


def left_out(result) -> list[str]:
    return [one.message for one in result.findings if one.code == "import.left_out"]


# supervisord.conf.


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_imported_file_of_supervisord_is_the_same_fleet(path):
    direct = load_fleet([path], environ=ENVIRON).fleet
    native = fleet_of(imported(str(path)).text)
    assert dict(native.services) == dict(direct.services)
    mine, other = native.settings.supervisor, direct.settings.supervisor
    assert (mine.identifier, mine.logfile) == (other.identifier, other.logfile)
    servers = [(one.url, one.mode, one.owner) for one in (mine.unix, *mine.inet) if one]
    assert servers == [(one.url, one.mode, one.owner) for one in (other.unix, *other.inet) if one]


def test_values_say_where_they_came_from_and_passwords_are_not_written_plain():
    Path("conf.d").mkdir()
    Path("conf.d/web.conf").write_text(
        "[program:web]\ncommand=/bin/sleep 1\nstopwaitsecs=3\n", encoding="utf-8"
    )
    Path("s.conf").write_text(
        "[supervisord]\nenvironment=A=1\n[inet_http_server]\nport=9001\nusername=u\npassword=hunter2\n"
        "[include]\nfiles=conf.d/*.conf\n",
        encoding="utf-8",
    )
    text = imported("s.conf").text
    assert '"command": ["/bin/sleep", "1"],  // command web.conf:2' in text
    assert '"grace": 3,  // stopwaitsecs web.conf:3' in text
    assert '"A": "1"  // [supervisord] s.conf:2' in text
    assert "// web web.conf:1" in text
    assert "hunter2" not in text
    (server,) = fleet_of(text).settings.supervisor.inet
    assert server.auth.accepts("u", "hunter2")


# Procfile.


def test_a_procfile_is_shell_lines_with_ports_and_a_release_before_all():
    Path("Procfile").write_text(
        "# comment\nweb: bundle exec rails s -p $PORT\n"
        'worker: sidekiq; echo "x"\nrelease: rake db:migrate\n\n',
        encoding="utf-8",
    )
    Path(".env").write_text("RAILS_ENV=production\n", encoding="utf-8")
    result = imported("Procfile")
    here = str(Path.cwd())
    assert body_of(result.text) == {
        "settings": {"env_files": [f"?{here}/.env"]},
        "services": {
            "web": {
                "command": "bundle exec rails s -p $PORT",
                "cwd": here,
                "env": {"PORT": "5000"},
                "depends_on": {"release": "completed"},
            },
            "worker": {"command": 'sidekiq; echo "x"', "cwd": here, "depends_on": {"release": "completed"}},
            "release": {"command": "rake db:migrate", "cwd": here, "kind": "once"},
        },
    }
    assert fleet_of(result.text).services["web"].env["RAILS_ENV"] == "production"


def test_a_line_that_is_none_of_a_procfile_is_refused_with_its_place():
    Path("Procfile").write_text("web: x\nthis is nothing\n", encoding="utf-8")
    result = import_files([Path("Procfile")], ENVIRON)
    (finding,) = result.findings
    assert (finding.where[0].line, finding.code, result.text) == (2, "procfile.syntax", "")


# docker-compose.yml.

COMPOSE = """\
x-common: &common
  restart: unless-stopped
  environment: {LOG_LEVEL: "${LOG_LEVEL-info}", EMPTY: }
services:
  web:
    <<: *common
    image: myapp
    command: python -m http.server ${PORT}
    working_dir: /srv
    user: "1000:1001"
    ports: ["127.0.0.1:8080:8000"]
    depends_on:
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_healthy}
      db: {condition: service_started}
    healthcheck: {test: [CMD, check, "$$HOME"], interval: 10s, timeout: 1m30s, retries: 0, start_period: 1ms}
    stop_signal: SIGINT
    stop_grace_period: 30s
    mem_limit: 512mb
    cpus: 0.5
    pids_limit: 100
    networks: [front]
  migrate:
    entrypoint: ["/bin/sh", "-c"]
    command: ["echo $USER $$X; exit 0"]
    environment: [A=1, B=two words, INHERITED]
    env_file: [one.env, {path: two.env, required: false}]
    restart: on-failure:5
  cache:
    command: redis-server
    profiles: [debug]
    deploy: {replicas: 2, resources: {limits: {memory: 1G, cpus: "1.5"}}}
    ports: [{target: 6379, published: 6379}]
  db:
    image: postgres:16
volumes: {data: {}}
"""


def test_services_of_compose_are_processes_as_far_as_the_file_says_what_they_run():
    Path("docker-compose.yml").write_text(COMPOSE, encoding="utf-8")
    result = imported("docker-compose.yml")
    here = str(Path.cwd())
    assert body_of(result.text)["services"] == {
        "web": {
            "command": ["python", "-m", "http.server", "${PORT:-}"],
            "cwd": "/srv",
            "restart": {"policy": "always", "max_restarts": "unlimited"},
            "env": {"LOG_LEVEL": "${LOG_LEVEL:-info}"},
            "user": "1000",
            "group": "1001",
            "port": 8000,
            "depends_on": {"migrate": "completed", "cache": "ready"},
            "probes": {
                "readiness": {
                    "command": ["check", "$$HOME"],
                    "period": 10.0,
                    "timeout": 90.0,
                    "initial_delay": 0.001,
                    "failure_threshold": 1,
                }
            },
            "stop": {"signal": "SIGINT", "grace": 30.0},
            "limits": {"memory": "512m", "cpu": 0.5, "pids": 100},
        },
        "migrate": {
            "command": ["/bin/sh", "-c", "echo ${USER:-} $$X; exit 0"],
            "cwd": here,
            "restart": {"policy": "on-failure", "max_restarts": 5},
            "env": {"A": "1", "B": "two words"},
            "env_files": [f"{here}/one.env", f"?{here}/two.env"],
            "kind": "once",
        },
        "cache": {
            "command": ["redis-server"],
            "cwd": here,
            "restart": {"policy": "never"},
            "tags": ["debug"],
            "enabled": False,
            "replicas": 2,
            "limits": {"memory": "1G", "cpu": 1.5},
        },
    }
    assert [message.partition(":")[0] for message in left_out(result)] == [
        "service db",
        "`ports` 127.0.0.1",
        "`depends_on`",
        "service web",
        "`ports`",
        "`volumes`",
    ]
    assert {one.where[0].line for one in result.findings} == {11, 13, 22, 33, 34, 36}
    Path("one.env").write_text("C=3\n", encoding="utf-8")
    fleet = fleet_of(result.text, PORT="80")
    assert fleet.services["web"].argv[-1] == "80"
    assert fleet.services["migrate"].env == {"C": "3", "A": "1", "B": "two words"}


def test_yaml_that_is_none_is_refused_with_its_place():
    Path("compose.yaml").write_text("services:\n  web:\n    command: [a\n", encoding="utf-8")
    result = import_files([Path("compose.yaml")], ENVIRON)
    (finding,) = result.findings
    assert (finding.code, finding.where[0].line, result.text) == ("yaml.syntax", 4, "")


# Units of systemd.

UNIT = """\
[Unit]
Description=The app
After=network.target db.service
Requires=db.service gone.service
[Service]
Type=notify
# a comment
ExecStartPre=-/bin/mkdir -p /run/app
ExecStart=/bin/app --name=%p ${TIME} \\
   extra $WORD
ExecReload=/bin/kill -HUP $MAINPID
ExecStop=/bin/app stop
ExecStopPost=/bin/rm /run/app/x
Environment="A=1 2" B=%n C=$x
EnvironmentFile=-/etc/default/app
WorkingDirectory=/tmp
User=nobody
UMask=0027
Restart=on-failure
RestartSec=1min 30s
LimitNOFILE=1024:65536
LimitCORE=infinity
MemoryMax=1G
CPUQuota=150%
TasksMax=10
KillMode=process
ProtectSystem=strict
SuccessExitStatus=143 SIGTERM
StandardOutput=append:/var/log/app.log
WatchdogSec=5
[Install]
WantedBy=multi-user.target
"""


def test_a_unit_is_a_service_and_what_it_cannot_be_is_said():
    Path("app.service").write_text(UNIT, encoding="utf-8")
    Path("db.service").write_text(
        "[Service]\nType=oneshot\nExecStart=/bin/one\nExecStart=/bin/two\n", encoding="utf-8"
    )
    result = imported("app.service", "db.service")
    services = body_of(result.text)["services"]
    assert services["app"] == {
        "command": ["/bin/app", "--name=app", "${TIME:-}", "extra", "${WORD:-}"],
        "notify": True,
        "description": "The app",
        "depends_on": {"db": "ready"},
        "pre_start": [["/bin/sh", "-c", '"$$@" || true', "sh", "/bin/mkdir", "-p", "/run/app"]],
        "reload": "HUP",
        "stop": {"command": ["/bin/app", "stop"], "scope": "leader"},
        "post_stop": [["/bin/rm", "/run/app/x"]],
        "env": {"A": "1 2", "B": "app.service", "C": "$$x"},
        "env_files": ["?/etc/default/app"],
        "cwd": "/tmp",
        "user": "nobody",
        "umask": "027",
        "restart": {"policy": "on-failure", "backoff": {"initial": 90.0}, "success_exit_codes": [0, 143]},
        "rlimits": {"nofile": [1024, 65536], "core": "unlimited"},
        "limits": {"memory": "1G", "cpu": 1.5, "pids": 10},
        "log": {"files": [{"path": "/var/log/app.log", "stream": "stdout", "max_bytes": 0}]},
        "watchdog": 5.0,
    }
    assert services["db"] == {
        "pre_start": [["/bin/one"]],
        "command": ["/bin/two"],
        "kind": "once",
        "restart": {"policy": "never"},
    }
    assert [(one.where[0].line, one.message.partition(":")[0]) for one in result.findings] == [
        (4, "Requires=gone.service"),
        (27, "ProtectSystem"),
        (28, "SuccessExitStatus=143 SIGTERM"),
    ]
    fleet_of(result.text)


def test_a_timer_makes_a_service_periodic_or_says_why_not():
    Path("a.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n", encoding="utf-8")
    Path("a.timer").write_text("[Timer]\nOnUnitActiveSec=1h 30min\n", encoding="utf-8")
    Path("b.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n", encoding="utf-8")
    Path("b.timer").write_text("[Timer]\nOnCalendar=daily\n", encoding="utf-8")
    result = imported("a.service", "a.timer", "b.service", "b.timer")
    fleet = fleet_of(result.text)
    assert fleet.services["a"].schedule.every == 5400.0
    assert not fleet.services["b"].enabled
    (finding,) = result.findings
    assert (finding.where[0].path, finding.where[0].line) == ("b.timer", 2)


# Files of MCP clients.


def test_a_clients_file_is_included_and_servers_with_a_port_of_ours_are_services():
    content = {
        "mcpServers": {
            "pipes": {"command": "npx", "args": ["-y", "fs"]},
            "here": {
                "command": "/bin/serve",
                "args": ["-p", "8123"],
                "url": "http://127.0.0.1:8123/mcp",
                "env": {"K": "v"},
            },
            "far": {"url": "https://example.org/mcp"},
        }
    }
    Path(".mcp.json").write_text(json.dumps(content), encoding="utf-8")
    result = imported(".mcp.json")
    here = str(Path.cwd())
    assert body_of(result.text) == {
        "include": [f"{here}/.mcp.json"],
        "services": {
            "here": {
                "command": ["/bin/serve", "-p", "8123"],
                "cwd": here,
                "env": {"K": "v"},
                "port": 8123,
                "probes": {"readiness": {"tcp": 8123}},
            }
        },
    }
    fleet = fleet_of(result.text)
    assert set(fleet.mcp.backends) == {"pipes", "here", "far"}
    assert fleet.mcp.backends["here"].service == "here"


# All of them.


def test_several_files_are_one_fleet_with_one_name_each():
    Path("Procfile").write_text("web: one\n", encoding="utf-8")
    Path("web.service").write_text("[Service]\nExecStart=/bin/two\n", encoding="utf-8")
    result = imported("Procfile", "web.service")
    assert list(body_of(result.text)["services"]) == ["web", "web-2"]
    assert result.text.startswith("// Imported from Procfile, web.service by `orchestra import`.\n")


def test_every_value_of_a_line_of_its_own_has_a_word_on_where_it_came_from():
    Path("docker-compose.yml").write_text(COMPOSE, encoding="utf-8")
    for line in imported("docker-compose.yml").text.splitlines()[3:]:
        is_value = re.match(r'\s+"[^"]+": (?!\{$)', line)
        assert not is_value or "// " in line, line


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("x.json", '{"services": {"a": {"command": "x"}}}', "orchestra up -c FILE"),
        ("x.json", '{"a": 1}', "known: supervisord.conf"),
        ("x.txt", "nothing", "known: supervisord.conf"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_a_way_out(name, text, hint):
    Path(name).write_text(text, encoding="utf-8")
    result = import_files([Path(name)], ENVIRON)
    assert result.text == ""
    assert hint in result.findings[-1].hint


def test_a_file_that_is_not_there_is_refused():
    result = import_files([Path("nowhere")], ENVIRON)
    assert (result.text, result.findings[0].code) == ("", "file.missing")


def test_a_comment_cannot_be_ended_by_what_a_file_says():
    Path("Procfile").write_text("web: x\n", encoding="utf-8")
    odd = Path("Procfile\nservices")
    odd.write_text("web: x\n", encoding="utf-8")
    assert set(body_of(imported(str(odd)).text)) == {"services"}


@pytest.mark.parametrize(
    ("name", "fitting"),
    [("a", "a"), ("a b", "a_b"), (".x", "_x"), ("a@b", "a_b"), ("x" * 90, "x" * 60), ("taken", "taken-2")],
)
def test_names_are_made_to_fit(name, fitting):
    assert fitting_name(name, {"taken"}) == fitting
