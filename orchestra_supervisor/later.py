"""Puts off the import of modules that others import and we hardly ever use.

`dataclasses` imports `inspect` for classes without a docstring (and for annotations, from Python 3.12),
`asyncio` imports `ssl` for who asks for TLS, each with a good deal behind it. A module that was put off is
there at once, under its name, and loads itself when the first of its attributes is looked at.

The standard library's `LazyLoader` loads such a module when it is imported for the second time, and lets
other threads see half of it meanwhile.
"""

import sys
from _thread import RLock
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["put_off", "put_off_inspect", "stand_in"]


class _Module(ModuleType):
    """A module that is not loaded yet."""

    def __getattr__(self, name: str) -> object:
        """Load it; only asked for what is not there."""
        loader = self.__loader__
        if isinstance(loader, _Loader):  # else another thread has just loaded it
            loader.load(self)
        return getattr(self, name)


class _Loader:
    """Stands before the loader of a module until the module is used."""

    def __init__(self, spec: ModuleSpec, members: Mapping[str, object]) -> None:
        self._spec = spec
        self._members = members
        self._lock = RLock()
        self._is_loading = False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return None: a module as any other."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it what it has without being loaded, for now."""
        vars(module).update(self._members)
        module.__class__ = _Module

    def load(self, module: _Module) -> None:
        """Load it in truth; threads that come meanwhile wait."""
        with self._lock:
            if type(module) is not _Module:
                return  # another thread was quicker
            if self._is_loading:
                raise AttributeError(f"module {module.__name__!r} is not loaded yet")
            self._is_loading = True
            try:
                loader = self._spec.loader
                assert loader is not None
                loader.exec_module(module)
                module.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue]  # its own base
                module.__spec__, module.__loader__ = self._spec, loader
            finally:
                self._is_loading = False


class _Finder:
    """Finds modules that are to be put off by asking the finders after it."""

    def __init__(self, names: Sequence[str], members: Mapping[str, object]) -> None:
        self._names = frozenset(names)
        self._members = members

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module is loaded later; None for every other."""
        if name not in self._names or target is not None:  # it is loaded again
            return None
        for finder in sys.meta_path:
            found = None if finder is self else finder.find_spec(name, path, target)
            if found is not None:
                loader = _Loader(found, self._members)
                later = ModuleSpec(name, loader, origin=found.origin)  # pyright: ignore[reportArgumentType]  # duck
                later.has_location, later.cached = found.has_location, found.cached
                return later
        return None


def put_off(*names: str) -> None:
    """Have modules load when they are used, wherever they are imported from now on.

    Args:
        names: Of modules in Python, no packages; one that is imported already stays as it is.
    """
    sys.meta_path.insert(0, _Finder(names, {}))


def put_off_inspect() -> None:
    """Have `inspect` load when more of it is used than `dataclasses` needs for a class with a docstring."""
    sys.meta_path.insert(0, _Finder(["inspect"], {"get_annotations": _annotations_of}))


def _annotations_of(cls: type) -> dict[str, object]:
    """Stand for `inspect.get_annotations`, which `dataclasses` asks for every class from Python 3.12."""
    return dict(cls.__annotations__)  # a class's own: they are not inherited


def stand_in(name: str, **members: object) -> None:
    """Have a module consist of some members, with nothing behind it; it must not be imported yet.

    Args:
        name: Of the module.
        members: What is asked of it.
    """
    module = ModuleType(name, "A stand-in.")
    vars(module).update(members)
    sys.modules[name] = module
