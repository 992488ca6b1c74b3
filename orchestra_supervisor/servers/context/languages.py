"""What kind of file a name stands for."""

__all__ = ["language_of"]

_BY_NAME = {
    "dockerfile": "docker",
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    "procfile": "procfile",
    "license": "text",
    "readme": "text",
    ".gitignore": "config",
    ".env": "config",
}
_GROUPS = {
    "python": "py pyi pyx ipynb",
    "javascript": "js mjs cjs jsx",
    "typescript": "ts mts cts tsx",
    "c": "c h",
    "c++": "cc cpp cxx hpp hh hxx",
    "c#": "cs",
    "go": "go",
    "rust": "rs",
    "java": "java",
    "kotlin": "kt kts",
    "swift": "swift",
    "ruby": "rb rake gemspec",
    "php": "php",
    "scala": "scala sc",
    "elixir": "ex exs",
    "haskell": "hs",
    "lua": "lua",
    "perl": "pl pm",
    "r": "r",
    "zig": "zig",
    "shell": "sh bash zsh fish",
    "sql": "sql",
    "html": "html htm",
    "css": "css scss sass less",
    "vue": "vue",
    "svelte": "svelte",
    "markdown": "md markdown mdx",
    "text": "txt rst adoc",
    "json": "json jsonl json5 jsonc",
    "yaml": "yaml yml",
    "toml": "toml",
    "xml": "xml xsd svg",
    "config": "ini cfg conf env properties",
    "protobuf": "proto",
    "terraform": "tf tfvars",
    "csv": "csv tsv",
    "image": "png jpg jpeg gif webp ico bmp",
    "font": "woff woff2 ttf otf",
    "archive": "zip tar gz bz2 xz zst 7z whl jar",
    "document": "pdf docx xlsx pptx odt",
    "lock": "lock",
}
_BY_EXTENSION = {extension: language for language, names in _GROUPS.items() for extension in names.split()}


def language_of(name: str) -> str:
    """Return the language or kind of a file by its name; `other` where it is not known."""
    lower = name.lower()
    known = _BY_NAME.get(lower)
    if known is not None:
        return known
    return _BY_EXTENSION.get(lower.rpartition(".")[2], "other") if "." in lower else "other"
