import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from orchestra_supervisor.config import dialect_autostart
from orchestra_supervisor.config.findings import shown
from orchestra_supervisor.config.form import FileForm
from orchestra_supervisor.config.jsonc import parse
from orchestra_supervisor.config.judge import _model_in, keys_of
from orchestra_supervisor.config.load import DEFAULT_FILES
from orchestra_supervisor.config.schema import fleet_schema, schema_text

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def all_keys(form: type[BaseModel]) -> set[str]:
    keys = set(keys_of(form))
    for info in form.model_fields.values():
        inner = _model_in(info.annotation)
        if inner is not None:
            keys |= all_keys(inner)
    return keys


@pytest.mark.parametrize("key", sorted(all_keys(FileForm)))
def test_every_key_of_the_native_form_is_documented(key):
    assert re.search(rf"`(?:[\w.]*\.)?{re.escape(key)}`", DOCS), (
        f"docs/configuration.md says nothing of `{key}`"
    )


@pytest.mark.parametrize(
    "key",
    sorted(
        dialect_autostart._A_SERVICE
        | dialect_autostart._A_SETTINGS
        | dialect_autostart._B_SERVICE
        | dialect_autostart._B_HEAD
        | set(DEFAULT_FILES)
    ),
)
def test_every_key_of_the_older_forms_and_every_default_file_is_documented(key):
    assert key in DOCS


def test_the_json_examples_of_the_documentation_are_what_they_say():
    examples = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    assert examples
    for example in examples:
        assert parse(example, "example").root is not None, example


def test_the_schema_in_configs_is_the_one_of_the_models():
    stored = (ROOT / "configs" / "orchestra.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), (
        "run: python -m orchestra_supervisor.config.schema configs/orchestra.schema.json"
    )


def test_every_key_of_the_schema_has_a_description():
    def walk(schema: object) -> None:
        if isinstance(schema, dict):
            for name, member in schema.get("properties", {}).items():
                assert isinstance(member, dict)
                if "soft" not in schema["properties"]:
                    assert member.get("description"), name
            for member in schema.values():
                walk(member)
        elif isinstance(schema, list):
            for member in schema:
                walk(member)

    walk(fleet_schema())


def test_all_references_of_the_schema_lead_somewhere():
    schema = fleet_schema()
    for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)):
        assert name in schema["$defs"]


def test_the_schema_is_written_by_its_module(tmp_path):
    target = tmp_path / "schema.json"
    subprocess.run(
        [sys.executable, "-m", "orchestra_supervisor.config.schema", str(target)],
        check=True,
        cwd=ROOT,
        timeout=30,
    )
    assert target.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ("plain", "", "plain"),
        ("hunter2", "DB_PASSWORD", "***"),
        ("run --token hunter2 --x", "", "run --token *** --x"),
        ("run --api-key=hunter2", "", "run --api-key=***"),
        ("PASSWORD='hunter 2' run", "", "PASSWORD=*** run"),
        ("postgres://u:hunter2@h/db", "", "postgres://u:***@h/db"),
        ("a\x1b[31mb\n", "", "a?[31mb?"),
        ("x" * 500, "", "x" * 157 + "..."),
        (5, "", "5"),
    ],
)
def test_a_value_is_shown_without_secrets_and_control_characters(value, name, expected):
    assert shown(value, name) == expected
