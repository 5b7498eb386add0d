"""``python -m edge_runtime completion bash|zsh|fish``: a completion script made from the parser itself."""

from __future__ import annotations

import argparse

from edge_runtime.cli.options import CompletionOptions
from edge_runtime.cli.parser import build_parser

PROGRAM = "dermedge"


def run_completion(options: CompletionOptions) -> int:
    """Print the script for ``dermedge``, the console script of the wheel."""
    commands = read_commands()
    print(_fish(commands) if options.shell == "fish" else _bash(commands, zsh=options.shell == "zsh"))
    return 0


def read_commands() -> dict[str, dict[str, list[str]]]:
    """Return the flags of each command with the values they take (none: a free value or no value)."""
    parser = build_parser()
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {
        name: {
            flag: [str(choice) for choice in action.choices or ()]
            for action in command._actions
            for flag in action.option_strings
            if flag.startswith("--")
        }
        for name, command in subparsers.choices.items()
    }


def _bash(commands: dict[str, dict[str, list[str]]], zsh: bool) -> str:
    cases = []
    for name, flags in commands.items():
        values = [
            f'      {name}:{flag}) COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$word")); return;;'
            for flag, choices in flags.items()
            if choices
        ]
        cases += values
    words = "\n".join(f'      {name}) words="{" ".join(flags)}";;' for name, flags in commands.items())
    lines = [
        "autoload -U +X bashcompinit && bashcompinit" if zsh else "",
        f"_{PROGRAM}() {{",
        '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""',
        '  if [ "$COMP_CWORD" -eq 1 ]; then',
        f'    COMPREPLY=($(compgen -W "{" ".join(commands)}" -- "$word")); return',
        "  fi",
        '  case "${COMP_WORDS[1]}:$before" in',
        *cases,
        "  esac",
        '  case "${COMP_WORDS[1]}" in',
        words,
        "  esac",
        '  case "$word" in',
        '    -*) COMPREPLY=($(compgen -W "$words" -- "$word"));;',
        '    *) COMPREPLY=($(compgen -f -- "$word"));;',
        "  esac",
        "}",
        f"complete -o filenames -F _{PROGRAM} {PROGRAM}",
    ]
    return "\n".join(line for line in lines if line)


def _fish(commands: dict[str, dict[str, list[str]]]) -> str:
    lines = [f"complete -c {PROGRAM} -n __fish_use_subcommand -xa '{' '.join(commands)}'"]
    for name, flags in commands.items():
        for flag, choices in flags.items():
            values = f" -xa '{' '.join(choices)}'" if choices else ""
            lines.append(f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}' -l {flag[2:]}{values}")
    return "\n".join(lines)
