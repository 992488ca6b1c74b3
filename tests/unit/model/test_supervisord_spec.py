import pytest

from orchestra_supervisor.model.supervisord import (
    AuthSpec,
    ServerSpec,
    SupervisorName,
    SupervisorSpec,
    password_digest,
)


def test_a_process_is_called_by_its_group_unless_both_have_one_name():
    assert SupervisorName(group="web", process="web_00").namespec == "web:web_00"
    assert SupervisorName(group="cat", process="cat").namespec == "cat"


@pytest.mark.parametrize("password", ["hunter2", "pässwört", "", "a:b", "\udcff"])
def test_only_the_right_name_and_password_are_accepted(password):
    auth = AuthSpec(username="chris", password_digest=password_digest(password, salt="a"))
    assert auth.accepts("chris", password)
    assert not auth.accepts("chris", password + "x")
    assert not auth.accepts("Chris", password)
    assert not auth.accepts("", "")


def test_a_digest_in_place_of_a_password_is_that_of_supervisord():
    digest = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"  # from supervisord's manual
    auth = AuthSpec(username="user", password_digest=password_digest(digest, salt="a"))
    assert auth.accepts("user", "thepassword")
    assert not auth.accepts("user", digest)


def test_a_password_is_in_no_form_of_a_spec():
    auth = AuthSpec(username="chris", password_digest=password_digest("hunter2", salt="a"))
    spec = SupervisorSpec(unix=ServerSpec(path="/run/s.sock", auth=auth))
    assert "hunter2" not in spec.model_dump_json() + repr(spec) + str(spec)
    assert SupervisorSpec.model_validate_json(spec.model_dump_json()) == spec


def test_two_salts_make_two_digests_of_one_password_and_one_salt_the_same():
    assert password_digest("x", salt="a") == password_digest("x", salt="a")
    assert password_digest("x", salt="a") != password_digest("x", salt="b")


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (ServerSpec(path="/run/s.sock"), "unix:///run/s.sock"),
        (ServerSpec(port=9001), "http://localhost:9001"),
        (ServerSpec(host="127.0.0.1", port=9001), "http://127.0.0.1:9001"),
    ],
)
def test_a_server_has_the_address_that_supervisord_tells_its_children(server, url):
    assert server.url == url
