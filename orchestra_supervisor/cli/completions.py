"""Completion scripts for bash, zsh and fish. Names of services are asked of the command itself."""

from collections.abc import Callable

from orchestra_supervisor.cli.vocabulary import Option, Verb

__all__ = ["SCRIPTS", "bash_script", "fish_script", "zsh_script"]

_FIND_VERB = """\
  for ((i = {first}; i < {last}; i++)); do
    case ${{{words}[i]}} in
      --home) home=(--home "${{{words}[i+1]}}"); i=$((i + 1)) ;;
      -*) ;;
      *) verb=${{verb:-${{{words}[i]}}}} ;;
    esac
  done
"""
"""In bash and zsh alike: the command that is being typed, and the home that it is for."""


def bash_script(verbs: list[Verb]) -> str:
    """Return the script for bash; it needs nothing but bash itself."""
    find = _FIND_VERB.format(first=1, last="COMP_CWORD", words="COMP_WORDS")
    return f"""\
# Completion of orchestra for bash: eval "$(orchestra completion bash)"
_orchestra() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  local verb= i words= options= takes= home=()
{find}\
  if [[ -z $verb ]]; then
    case $prev in
      --home) takes=folders ;;
      *) takes=words words='{" ".join(verb.name for verb in verbs)}' options='--home --help --version' ;;
    esac
  else
    case $verb in
{_cases(verbs, " ".join)}\
    esac
    case "$verb $prev" in
{_values(verbs, " ".join)}\
    esac
  fi
  if [[ $cur == -* && -n $options ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
    return
  fi
  local lead=
  if [[ $takes == names ]]; then
    words="$("${{COMP_WORDS[0]}}" "${{home[@]}}" completion names 2>/dev/null)"
    [[ $cur == *,* ]] && lead=${{cur%,*}}, cur=${{cur##*,}}
  fi
  case $takes in
    names | words) COMPREPLY=($(compgen -P "$lead" -W "$words" -- "$cur")) ;;
    files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;
    folders) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
    *) COMPREPLY=() ;;
  esac
}}
complete -F _orchestra orchestra
"""


def zsh_script(verbs: list[Verb]) -> str:
    """Return the script for zsh: to be sourced, or put as `_orchestra` into a folder of $fpath."""
    find = _FIND_VERB.format(first=2, last="CURRENT", words="words")
    described = "\n".join(f"    {_quoted(f'{verb.name}  {verb.text}')}" for verb in verbs)
    return f"""\
#compdef orchestra
# Completion of orchestra for zsh: eval "$(orchestra completion zsh)"
_orchestra() {{
  local cur=${{words[CURRENT]}} prev=${{words[CURRENT-1]}} verb= takes= i
  local -a home options values texts
{find}\
  if [[ -z $verb ]]; then
    if [[ $prev == --home ]]; then
      takes=folders
    else
      takes=words
      values=({" ".join(verb.name for verb in verbs)})
      options=(--home --help --version)
      texts=(
{described}
      )
    fi
  else
    case $verb in
{_cases(verbs, _zsh_list)}\
    esac
    case "$verb $prev" in
{_values(verbs, _zsh_list)}\
    esac
  fi
  if [[ $cur == -* && ${{#options}} -gt 0 ]]; then
    compadd -- $options
    return
  fi
  case $takes in
    names)
      values=(${{(f)"$("${{words[1]}}" $home completion names 2>/dev/null)"}})
      if [[ $cur == *,* ]]; then
        compadd -P "${{cur%,*}}," -- $values
      else
        compadd -- $values
      fi ;;
    words)
      if [[ ${{#texts}} -gt 0 ]]; then
        compadd -l -d texts -- $values
      else
        compadd -- $values
      fi ;;
    files) _files ;;
    folders) _files -/ ;;
  esac
}}
if [[ $funcstack[1] == _orchestra ]]; then
  _orchestra "$@"
else
  compdef _orchestra orchestra
fi
"""


def fish_script(verbs: list[Verb]) -> str:
    """Return the script for fish."""
    names = '"(orchestra completion names 2>/dev/null)"'
    lines = [
        "# Completion of orchestra for fish: orchestra completion fish | source",
        "complete -c orchestra -f",
        "complete -c orchestra -n __fish_use_subcommand -l home -x -a '(__fish_complete_directories)'",
        "complete -c orchestra -n __fish_use_subcommand -l version",
    ]
    for verb in verbs:
        described = f"-a {verb.name} -d {_quoted(verb.text)}"
        lines.append(f"complete -c orchestra -n __fish_use_subcommand {described}")
    for verb in verbs:
        seen = f"complete -c orchestra -n '__fish_seen_subcommand_from {verb.name}'"
        values = {
            "names": f" -a {names}",
            "files": " -F",
            "folders": " -a '(__fish_complete_directories)'",
            "commands": f" -a {_quoted(' '.join(one.name for one in verbs))}",
        }
        argument = verb.argument
        value = (
            f" -a {_quoted(' '.join(argument.words))}" if argument.words else values.get(argument.takes, "")
        )
        if value:
            lines.append(seen + value)
        for option in verb.options:
            flags = "".join(
                f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}" for flag in option.flags
            )
            value = f" -a {_quoted(' '.join(option.words))}" if option.words else values.get(option.takes, "")
            required = "" if not option.takes else " -r" if option.takes == "files" else " -x"
            lines.append(f"{seen}{flags}{required}{value} -d {_quoted(option.text)}")
    return "\n".join(lines) + "\n"


SCRIPTS: dict[str, Callable[[list[Verb]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
"""Shell to what makes its script."""


def _zsh_list(words: list[str]) -> str:
    return " ".join(words)


def _cases(verbs: list[Verb], joined: Callable[[list[str]], str]) -> str:
    """Return the branch of each command: its options, and what its argument takes."""
    lines: list[str] = []
    is_list = joined is _zsh_list
    for verb in verbs:
        flags = joined([flag for option in verb.options for flag in option.flags])
        takes, words = _takes(verb.argument, verbs)
        options = f"options=({flags} --help)" if is_list else f"options='{flags} --help'"
        lines.append(f"      {verb.name}) {options} takes={takes}{_words(words, joined)} ;;\n")
    return "".join(lines)


def _values(verbs: list[Verb], joined: Callable[[list[str]], str]) -> str:
    """Return the branch of each option that has a value: then nothing else may stand there."""
    nothing = "options=()" if joined is _zsh_list else "options="
    lines = [f"      *' --home') {nothing} takes=folders ;;\n"]
    for verb in verbs:
        for option in verb.options:
            if option.takes and "--home" not in option.flags:
                pattern = " | ".join(f"'{verb.name} {flag}'" for flag in option.flags)
                takes, words = _takes(option, verbs)
                lines.append(f"      {pattern}) {nothing} takes={takes}{_words(words, joined)} ;;\n")
    return "".join(lines)


def _takes(option: Option, verbs: list[Verb]) -> tuple[str, list[str]]:
    if option.takes == "commands":
        return "words", [verb.name for verb in verbs]
    return option.takes, option.words


def _words(words: list[str], joined: Callable[[list[str]], str]) -> str:
    if joined is _zsh_list:
        return f" values=({joined(words)})"
    return f" words='{joined(words)}'"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"
