"""A griffe extension for the site: docstrings as Markdown.

They are plain text, in which `>>>` begins an example, `<p, xi>` is a pairing and `a*b`
a product. Markdown would take these for a quotation, a tag and emphasis.
"""

import re

import griffe

#: Several attributes that share a description; griffe takes the second for a type.
_SEVERAL = re.compile(r"^    \w+(?:, \w+)+(?=:)", re.MULTILINE)
_EXAMPLE = re.compile(r"^( *)>>> .*", re.MULTILINE | re.DOTALL)


def as_markdown(text: str) -> str:
    """Examples in fences of their own; in prose nothing that Markdown would read."""
    return "\n\n".join(map(_paragraph, text.split("\n\n")))


def _paragraph(text: str) -> str:
    if text.startswith("Attributes:"):
        # An unbreakable space is none to griffe.
        text = _SEVERAL.sub(lambda names: names[0].replace(", ", ",\xa0"), text)
    example = _EXAMPLE.search(text)
    if example is None:
        return text if text.startswith("    ") else _prose(text)
    prose, indent = _prose(text[: example.start()]), example.group(1)
    return f"{prose}{indent}```pycon\n{example.group().rstrip()}\n{indent}```"


def _prose(text: str) -> str:
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;").replace("*", r"\*")
        for part in parts
    )


class Docstrings(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
