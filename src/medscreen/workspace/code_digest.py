"""Which of this project's files a module is made of: a result depends on the code it ran through."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]

# Packages that can't change what a stage computes: tracking watches and reports, the root package only forwards.
_LEFT_OUT = frozenset({"medscreen", "medscreen.tracking"})


def import_closure(module: str) -> list[Path]:
    """The files of `module` and of all medscreen modules that it imports, directly or not, sorted.

    Paths are relative to the source folder. Tracking, and what only it imports, is left out.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name in _LEFT_OUT or name.startswith("medscreen.tracking."):
            continue
        path = _file_of(name)
        if path is None:  # a name inside a module, not a module
            continue
        found[name] = path
        waiting += _imports(path)
        waiting += [name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)]
    return sorted(path.relative_to(SOURCE) for path in found.values())


def code_digest(module: str) -> str:
    """32 hexadecimal characters for the content of `import_closure(module)`."""
    digest = hashlib.blake2b(digest_size=16)
    for path in import_closure(module):
        digest.update(path.as_posix().encode() + b"\0" + (SOURCE / path).read_bytes())
    return digest.hexdigest()


def _file_of(name: str) -> Path | None:
    base = SOURCE.joinpath(*name.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "medscreen")
