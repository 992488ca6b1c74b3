"""Has very many services up, restarted and down, times each command, and looks at what became of them.

    python benchmarks/thousand.py --services 1000

Every service is a process that sleeps. Exit status 0 when all of them did what was asked, 1 when one did not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 600.0  # seconds for any one command


def orchestra(folder: Path, *words: str) -> tuple[float, str]:
    """Run a command of the fleet in a folder; return its seconds and what it printed.

    Raises:
        SystemExit: It did not end with 0.
    """
    # PYTHONDONTWRITEBYTECODE among them: with it every command would be timed compiling itself.
    left_out = ("ORCHESTRA_", "PYTHON")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "orchestra_supervisor", "--home", str(folder / ".orchestra"), *words],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"`orchestra {' '.join(words)}` ended with {done.returncode}: {done.stderr[-2000:]}")
    return took, done.stdout


def services_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the fleet says of each service, by name."""
    shown = json.loads(orchestra(folder, "status", "--json")[1])
    return {one["name"]: one for one in shown["services"]}


def measure(folder: Path, count: int, looks: int) -> list[str]:
    """Print the seconds of each command as it goes; return what was not as it has to be."""
    services = {f"s{number:04}": {"command": ["sleep", "infinity"]} for number in range(count)}
    (folder / "orchestra.json").write_text(json.dumps({"services": services}), encoding="utf-8")
    faults: list[str] = []
    try:
        print(f"up       {orchestra(folder, 'up', '--detach')[0]:7.2f} s for {count} services", flush=True)
        first = services_of(folder)
        faults += [f"{name}: {one['state']}" for name, one in first.items() if one["state"] != "ready"]
        for words in (["status"], ["status", "s0000"]):
            times = [orchestra(folder, *words)[0] for _ in range(looks)]
            print(
                f"status   {statistics.median(times) * 1e3:7.1f} ms, median of {looks}: {' '.join(words)}",
                flush=True,
            )
        print(f"restart  {orchestra(folder, 'restart', 'all')[0]:7.2f} s", flush=True)
        second = services_of(folder)
        faults += [
            f"{name}: {one['state']} after restart" for name, one in second.items() if one["state"] != "ready"
        ]
        faults += [
            f"{name}: not another process" for name in first if first[name]["pid"] == second[name]["pid"]
        ]
        print(f"stop     {orchestra(folder, 'stop', 'all')[0]:7.2f} s", flush=True)
        faults += [
            f"{name}: {one['state']} after stop" for name, one in services_of(folder).items() if one["pid"]
        ]
    finally:
        print(f"down     {orchestra(folder, 'down')[0]:7.2f} s", flush=True)
    return faults if len(first) == count else [*faults, f"{len(first)} services of {count}"]


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=21, help="how often status is timed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orchestra-thousand-") as folder:
        faults = measure(Path(folder), options.services, options.looks)
    print("\n".join(faults) or "every service did what was asked")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
