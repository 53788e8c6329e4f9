"""The addresses in the metadata of what is built: those of the place that publishes it.

The source knows none of its own. Whoever publishes it says where by
LAGRANGIAN_REPOSITORY; an sdist keeps what it was built with.
"""

import os

from hatchling.metadata.plugin.interface import MetadataHookInterface

THEORY = "https://arxiv.org/abs/2105.02716"


class Addresses(MetadataHookInterface):
    def update(self, metadata: dict) -> None:
        urls = metadata.setdefault("urls", {"Theory": THEORY})
        repository = os.environ.get("LAGRANGIAN_REPOSITORY", "").rstrip("/")
        if not repository:
            return
        if not repository.startswith("https://"):
            raise ValueError(
                f"LAGRANGIAN_REPOSITORY is {repository!r}; write the address of the "
                "repository, from https:// on, or leave it out."
            )
        urls |= {
            "Repository": repository,
            "Issues": f"{repository}/issues",
            "Documentation": f"{repository}/blob/HEAD/docs/index.md",
            "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
        }
