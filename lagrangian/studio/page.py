"""The page: what each browser window gets, and the server that hands it out."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from pathlib import Path
from typing import Any

import panel as pn

from lagrangian.errors import LagrangianError
from lagrangian.studio.derive import Derive
from lagrangian.studio.learn import Learn
from lagrangian.studio.simulate import Simulate
from lagrangian.studio.style import STYLE, text
from lagrangian.studio.theorems import Theorems
from lagrangian.version import __version__

ADDRESS = "127.0.0.1"
#: The typesetter of formulas with its fonts, since there may be no network.
KATEX = str(Path(__file__).parent / "katex")


def page() -> Any:
    """A page of its own for every window, with processes of its own."""
    simulate, learn, theorems = Simulate(), Learn(), Theorems()
    derive = Derive(changed=simulate.show)
    for tab in (derive, simulate, learn, theorems):
        pn.state.on_session_destroyed(lambda context, tab=tab: tab.close())
    head = text(
        f"<h1>lagrangian <small>{__version__}: mechanics, and the laws of learning, "
        "derived</small></h1>"
    )
    tabs = pn.Tabs(
        ("Derive", derive.view),
        ("Simulate", simulate.view),
        ("Learn", learn.view),
        ("Theorems", theorems.view),
        sizing_mode="stretch_width",
    )

    async def turned(event: Any) -> None:
        await simulate.turned(event.new == 1)

    tabs.param.watch(turned, "active")
    return pn.Column(head, tabs, sizing_mode="stretch_width", margin=(8, 16))


def serve(port: int = 0, browser: bool = True) -> None:
    """Serve the page on this machine alone, until interrupted.

    The address has a token, and nothing is served without it: other users of this
    machine, and other pages in the same browser, do not know it.

    Args:
        port: 0 for one that is free.
        browser: whether to open the page.

    Raises:
        LagrangianError: the port is taken.
    """
    pn.extension(raw_css=[STYLE])
    token, port = secrets.token_urlsafe(16), _free(port)
    server: Any = pn.serve(
        {token: page}, address=ADDRESS, port=port, show=False, start=False,
        websocket_origin=f"{ADDRESS}:{port}", title="lagrangian", verbose=False,
        use_index=False, redirect_root=False, static_dirs={"katex": KATEX},
    )  # fmt: skip
    address = f"http://{ADDRESS}:{port}/{token}"
    print(f"The page is at {address}\nCtrl-C ends it.", flush=True)
    if browser:
        server.io_loop.add_callback(webbrowser.open, address)
    server.run_until_shutdown()


def _free(port: int) -> int:
    """The port, or a free one for 0."""
    with socket.socket() as place:
        try:
            place.bind((ADDRESS, port))
        except OSError as error:
            raise LagrangianError(
                f"port {port} cannot be used: {error.strerror}. Leave `--port` out."
            ) from None
        return place.getsockname()[1]
