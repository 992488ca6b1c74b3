"""What reading a configuration takes is free again when it is read."""

import gc
import json
from pathlib import Path

from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.config.load import load_fleet


def nodes() -> int:
    return sum(isinstance(one, Node) for one in gc.get_objects())


def test_no_tree_of_a_file_waits_for_the_collector(tmp_path: Path) -> None:
    services = {f"s{number}": {"command": ["sleep", "1"]} for number in range(20)}
    file = tmp_path / "orchestra.json"
    file.write_text(json.dumps({"services": services}), encoding="utf-8")
    gc.collect()
    before = nodes()
    gc.disable()
    try:
        result = load_fleet((file,), environ={})
        assert nodes() > before + 20, "the result says where things were written"
        fleet = result.fleet
        del result
        assert (nodes(), len(fleet.services)) == (before, 20)
    finally:
        gc.enable()
