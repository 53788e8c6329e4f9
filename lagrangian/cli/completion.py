"""`lagrangian completion`: what bash, zsh and fish run when Tab is pressed.

Each of the three scripts asks `lagrangian completion words ...` for what may follow.
"""

from __future__ import annotations

import argparse
from typing import Any

from lagrangian.cli.parser import Parser, candidates, one_of

SCRIPTS = {
    "bash": """\
_lagrangian() {
    local IFS=$'\\n'
    COMPREPLY=($(lagrangian completion words \\
        "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _lagrangian lagrangian
""",
    "zsh": """\
#compdef lagrangian
_lagrangian() {
    local -a found
    found=(${(f)"$(lagrangian completion words \\
        "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
compdef _lagrangian lagrangian
""",
    "fish": """\
function __lagrangian
    set -l words (commandline -opc) (commandline -ct)
    lagrangian completion words $words[2..] 2>/dev/null
end
complete -c lagrangian -n __fish_is_first_token -f
complete -c lagrangian -a '(__lagrangian)'
""",
}

_INSTALL = """\
to be loaded at every start. bash: add `source <(lagrangian completion bash)` to
~/.bashrc. zsh: the same with zsh, in ~/.zshrc after compinit. fish: `lagrangian
completion fish > ~/.config/fish/completions/lagrangian.fish`"""


def add(commands: Any, parser: Parser) -> None:
    """Add the command to the subcommands of a parser."""
    completion = commands.add_parser(
        "completion",
        help="a script for the shell, which completes commands, names and options",
        epilog=_INSTALL,
    )
    completion.add_argument(
        "shell",
        type=one_of("shell", (*SCRIPTS, "words")),
        metavar="SHELL",
        help="bash, zsh or fish",
        completes=SCRIPTS,
    )
    completion.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    def run(options: argparse.Namespace) -> int:
        if options.shell == "words":
            for name in candidates(parser, commands.choices, options.words):
                print(name)
        else:
            print(SCRIPTS[options.shell], end="")
        return 0

    completion.set_defaults(run=run)
