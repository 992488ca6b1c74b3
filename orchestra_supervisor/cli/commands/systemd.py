"""`orchestra systemd`: the unit that runs a fleet, and a fleet as plain units."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

from orchestra_supervisor.cli.launch import find_config_files
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.systemctl import ask_version, commands_to_enable, enable, judge
from orchestra_supervisor.cli.unit_files import unit_directory, write_units
from orchestra_supervisor.cli.words import UsageError, whole_of

__all__ = ["configure", "run"]

_ROOT = Path(__file__).resolve().parents[3]
_IMPORT_LIMIT = 20.0  # seconds


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument("action", is_told=False, choices=["print", "install", "export"], help="what to do")
    parser.argument("directory", is_told=False, nargs="?", metavar="DIRECTORY", help="where `export` writes")
    parser.option(
        "-c", "--config", action="append", default=[], metavar="FILE", help="configuration file, may repeat"
    )
    parser.option(
        "--user", action="store_true", dest="is_user", help="for your own manager, not the system's"
    )
    parser.option("--name", default="orchestra", metavar="NAME", help="of the unit (default: orchestra)")
    parser.option("--as", dest="run_as", metavar="USER", help="whom the fleet runs as (default: root)")
    parser.option(
        "--hardening",
        choices=["services", "strict"],
        default="services",
        help="services: they may run as other users; strict: all run as the fleet does (default: services)",
    )
    parser.option(
        "--systemd-version",
        type=whole_of,
        metavar="N",
        help="of the host where it runs (default: asked here)",
    )
    parser.option("--directory", dest="unit_directory", metavar="DIR", help="where `install` writes")
    parser.option("--force", action="store_true", help="replace a file that differs")
    parser.option("--enable", action="store_true", help="after `install`, have systemd enable and start it")


def run(options: Options) -> int:
    """Print, install or export; 0, or the status of what went wrong."""
    _check(options)
    files = find_config_files(options.config, Path.cwd())
    version = options.systemd_version or ask_version()
    if options.action == "export":
        return _export(options, files, version)
    text = _unit_text(options, files, version)
    score = judge(options.name, text, is_user=options.is_user)
    if options.action == "print":
        sys.stdout.write(text)
    else:
        _install(options, text)
    if score:
        sys.stderr.write(f"security: {score} (systemd-analyze; 0 is the least exposed, 10 the most)\n")
    if options.action == "install" and options.enable:
        enable(f"{options.name}.service", is_user=options.is_user)
    return 0


def _check(options: Options) -> None:
    from orchestra_supervisor.systemd.unit import check_name

    options.name = check_name(options.name)
    if (options.directory is not None) != (options.action == "export"):
        raise UsageError(
            "export needs a directory, print and install take none", "orchestra systemd export DIRECTORY"
        )
    if options.action != "install" and (options.unit_directory or options.enable):
        raise UsageError("--directory and --enable belong to install", "orchestra systemd install --enable")
    if options.run_as is None:
        return
    if options.is_user:
        raise UsageError(
            "--user and --as exclude each other", "a user's manager runs everything as that user"
        )
    try:
        pwd.getpwnam(options.run_as)
    except KeyError:
        raise UsageError(f"there is no user {options.run_as!r}", "useradd --system makes one") from None


def _unit_text(options: Options, files: list[Path], version: int) -> str:
    from orchestra_supervisor.config.load import load_fleet
    from orchestra_supervisor.systemd.unit import UnitOptions, render_unit, stop_time

    loaded = load_fleet(files, environ=os.environ)
    loaded.raise_for_errors()
    fleet = loaded.fleet
    home = os.path.abspath(options.home) if options.home else None  # noqa: PTH100 - keeps symbolic links
    argv = [sys.executable, "-P", "-m", "orchestra_supervisor", "up", "--exec"]
    for file in files:
        argv += ["-c", str(file)]
    if home is not None:
        argv += ["--home", home]
    return render_unit(
        UnitOptions(
            name=options.name,
            argv=tuple(argv),
            cwd=str(files[0].parent),
            env=_needed_environment(),
            is_user=options.is_user,
            run_as=options.run_as,
            home=home,
            writable=(fleet.settings.log_directory,) if fleet.settings.log_directory else (),
            hardening=options.hardening,
            version=version,
            stop_time=stop_time(fleet),
        )
    )


def _needed_environment() -> dict[str, str]:
    """Return what the interpreter needs to find us, where it does not by itself."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import orchestra_supervisor"],
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_IMPORT_LIMIT,
        check=False,
    )
    return {"PYTHONPATH": str(_ROOT)} if done.returncode else {}


def _install(options: Options, text: str) -> None:
    unit = f"{options.name}.service"
    named = options.unit_directory
    directory = Path(named) if named else unit_directory(os.environ, is_user=options.is_user)
    written = write_units(directory, {unit: text}, is_forced=options.force)
    sys.stderr.write(f"{directory / unit}: {'written' if written else 'unchanged'}\n")
    if not options.enable:
        for command in commands_to_enable(unit, is_user=options.is_user):
            sys.stdout.write(" ".join(command) + "\n")


def _export(options: Options, files: list[Path], version: int) -> int:
    from orchestra_supervisor.config.load import load_fleet
    from orchestra_supervisor.systemd.export import export_fleet
    from orchestra_supervisor.systemd.service_unit import Place

    loaded = load_fleet(files, environ=os.environ)
    loaded.raise_for_errors()
    exported = export_fleet(loaded.fleet, Place(options.name, version, options.is_user))
    written = write_units(Path(options.directory), exported.files, is_forced=options.force)
    sys.stderr.write(f"{len(written)} of {len(exported.files)} files written to {options.directory}\n")
    sys.stderr.write("What plain units do not do:\n")
    for service, lost in exported.lost.items():
        for what in lost:
            sys.stderr.write(f"  {f'{service}: ' if service else ''}{what}\n")
    return 0
