"""Plugins for tests: files that are written, loaded and held in real threads."""

import textwrap
from pathlib import Path

from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.plugin_api.loader import PluginLoader
from orchestra_supervisor.plugin_api.plugin import Plugin

__all__ = ["HEAD", "load_text", "load_with", "spec_of", "write_plugin"]

HEAD = """
import asyncio, sys, threading, time
from orchestra_supervisor.plugin_api.hooks import hookimpl
from orchestra_supervisor.plugin_api.probe import Verdict
from orchestra_supervisor.plugin_api.secrets import Secret
NAME = "demo"
API_VERSION = 1
"""


def write_plugin(folder: Path, text: str, name: str = "demo.py", head: str = HEAD) -> Path:
    """Write a plugin's file below a folder that nobody else may change."""
    path = folder / name
    path.write_text(head + textwrap.dedent(text), encoding="utf-8")
    path.chmod(0o600)
    return path


def spec_of(path: Path, **fields: object) -> PluginSpec:
    return PluginSpec.model_validate({"source": str(path), "timeout": 5.0, **fields})


def load_with(loader: PluginLoader, *specs: PluginSpec) -> list[Plugin]:
    return loader.load(specs)


def load_text(
    loader: PluginLoader, folder: Path, text: str, name: str = "demo.py", head: str = HEAD, **fields: object
) -> Plugin:
    """Write a plugin and load it."""
    return loader.load([spec_of(write_plugin(folder, text, name, head), **fields)])[0]
