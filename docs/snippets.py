"""Keeps the code on the pages the code of the files: `python -m docs.snippets` rewrites the blocks.

A block belongs to a file when this comment stands right above it:

    <!-- examples/one/broker.py: Box.claim, Box._take -->

What follows the colon is functions, classes or methods by their dotted names, or regions between
the lines `# region NAME` and `# endregion`; without it the block is the whole file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent

BLOCK = re.compile(
    r"(?P<head>^<!-- (?P<path>[\w./-]+\.\w+)(?:: (?P<names>[\w., -]+))? -->\n+```\w+\n)"
    r"(?P<code>.*?)"
    r"(?P<tail>^```$)",
    re.MULTILINE | re.DOTALL,
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def filled(page: str, root: Path = ROOT) -> str:
    """The text of a page, with what the files say now in its blocks."""

    def block(found: re.Match[str]) -> str:
        return found["head"] + snippet(root / found["path"], found["names"]) + found["tail"]

    return BLOCK.sub(block, page)


def snippet(file: Path, names: str | None) -> str:
    """The named parts of a file, or all of it. Raises LookupError where it has no such part."""
    source = file.read_text()
    if not names:
        return source
    parts = [part(source, name.strip()) for name in names.split(",")]
    if None in parts:
        missing = names.split(",")[parts.index(None)].strip()
        raise LookupError(f"{file} has no function, class or region {missing!r}.")
    return "\n".join(filter(None, parts))


def part(source: str, name: str) -> str | None:
    """The lines of a definition or of a region, without their indentation."""
    region = re.search(
        rf"^ *# region {re.escape(name)}\n(.*?)^ *# endregion$", source, re.MULTILINE | re.DOTALL
    )
    if region is not None:
        return dedent(region[1])
    for dotted_name, node in definitions(ast.parse(source)):
        if dotted_name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            lines = source.splitlines(keepends=True)[first - 1 : node.end_lineno]
            return dedent("".join(lines))
    return None


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Every function and class in a module, by its dotted name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield prefix + child.name, child
            yield from definitions(child, f"{prefix}{child.name}.")


def pages() -> list[Path]:
    """Every page that has such a block."""
    return [page for page in sorted(ROOT.glob("docs/*.md")) if BLOCK.search(page.read_text())]


def main() -> None:
    """Rewrite the pages whose blocks are out of date."""
    for page in pages():
        old = page.read_text()
        if (new := filled(old)) != old:
            page.write_text(new)
            print(f"{page.relative_to(ROOT)} is rewritten")


if __name__ == "__main__":
    main()
