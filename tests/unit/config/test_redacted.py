"""A fleet as it is shown: nothing that is, or may be, a secret."""

import json

import pytest

from orchestra_supervisor.config.redacted import redacted_fleet
from orchestra_supervisor.model.spec import Fleet


def shown(**fields: object) -> dict[str, object]:
    service = {"name": "web", "argv": ["x"], "cwd": "/", **fields}
    document = redacted_fleet(Fleet.model_validate({"services": {"web": service}}))
    text = json.dumps(document)
    return json.loads(text)["services"]["web"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "8000", "8000"),
        ("DB_HOST", "db.local", "db.local"),
        ("LOG_LEVEL", "debug", "debug"),
        ("PYTHONUNBUFFERED", "1", "1"),
        ("DATABASE_URL", "postgres://u:p@h/d", "***"),
        ("TOKEN", "abc", "***"),
        ("TOKEN", "secret:web_token", "secret:web_token"),
        ("GREETING", "hello", "***"),
        ("TOKEN_PORT", "123", "***"),
        ("PATH", "/bin:${secret:x}", "***"),
    ],
)
def test_a_variable_is_shown_where_it_is_known_to_be_harmless(name: str, value: str, told: str) -> None:
    assert shown(env={name: value})["env"] == {name: told}


def test_commands_and_addresses_lose_what_looks_like_a_secret() -> None:
    web = shown(
        argv=["x", "--api-key", "geheim", "--password=geheim", "https://u:geheim@h/", "plain"],
        probes={
            "readiness": {
                "check": {"type": "http", "url": "http://u:geheim@h/", "headers": {"Authorization": "geheim"}}
            }
        },
    )
    assert web["argv"] == ["x", "--api-key", "***", "--password=***", "https://u:***@h/", "plain"]
    assert "geheim" not in json.dumps(web)


def test_options_of_plugins_under_telling_names_are_hidden() -> None:
    options = {"token": "geheim", "ref": "secret:x", "url": "http://h/", "deep": {"password": "geheim"}}
    fleet = Fleet.model_validate({"settings": {"plugins": [{"source": "/p.py", "options": options}]}})
    text = json.dumps(redacted_fleet(fleet))
    assert "geheim" not in text
    assert '"url": "http://h/"' in text


def test_nothing_is_shown_of_a_password_of_supervisords_servers() -> None:
    auth = {"username": "joe", "password_digest": f"sha1:{'ab' * 20}"}
    server = {"host": "127.0.0.1", "port": 9001, "auth": auth}
    fleet = Fleet.model_validate({"settings": {"supervisor": {"inet": [server], "unix": server}}})
    shown_servers = redacted_fleet(fleet)["settings"]["supervisor"]  # type: ignore[call-overload,index]
    for one in (shown_servers["inet"][0], shown_servers["unix"]):
        assert one["auth"] == {"username": "joe", "password_digest": "***"}


def test_the_chosen_services_alone_are_told_of() -> None:
    service = {"argv": ["x"], "cwd": "/"}
    fleet = Fleet.model_validate({"services": {name: {"name": name, **service} for name in "abc"}})
    assert list(redacted_fleet(fleet, ("b",))["services"]) == ["b"]  # type: ignore[call-overload]
