"""For `make notebooks`: what a slider draws is an output of its cell."""

from typing import Any

from nbclient import NotebookClient
from nbmake import nb_run


class WithoutWidgets(NotebookClient):
    """A client that plays no front end, and answers no widget.

    One that does writes to the socket from which it waits for the kernel's replies, and
    now and then waits for ever (jupyter/nbclient#312).
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.widget_registry = {}


nb_run.NotebookClient = WithoutWidgets
