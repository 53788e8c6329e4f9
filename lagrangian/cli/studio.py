"""`lagrangian studio`: a page in the browser."""

from __future__ import annotations

import argparse
from typing import Any

from lagrangian.cli.arguments import port
from lagrangian.cli.shell import check_backend


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    studio = commands.add_parser(
        "studio", help="derive, simulate and verify on a page in the browser"
    )
    studio.set_defaults(run=_studio)
    studio.add_argument(
        "--port", type=port, default=0, help="where it is served; one that is free"
    )
    studio.add_argument(
        "--no-browser",
        action="store_true",
        help="only print the address, which no other user of this machine knows",
    )


def _studio(options: argparse.Namespace) -> int:
    check_backend()
    from lagrangian.studio.page import serve

    serve(options.port, browser=not options.no_browser)
    return 0
