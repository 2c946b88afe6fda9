"""Imports between rooms only go left, there is no room beyond the list, and the wheel's package list matches the tree."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["ir", "frontend|passes", "backends", "evaluation", "transpiler|kernels", "agents", "datasets", "compiler", "__init__|cli"]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names.split("|")}


def _room(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path) -> list[str]:
    """Rooms that a file imports, by its relative imports."""
    depth = len(path.relative_to(ROOT).parts)
    rooms: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            rooms += [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not any(n == "warploom" or n.startswith("warploom.") for n in names), f"{path}: import by relative name"
    return rooms


def _sources() -> list[Path]:
    return [p for name in LEVEL for p in ([ROOT / f"{name}.py"] if (ROOT / f"{name}.py").exists() else sorted((ROOT / name).rglob("*.py")))]


def test_imports_only_go_left() -> None:
    sources = _sources()
    assert len(sources) > 50
    wrong = []
    for path in sources:
        here = _room(path)
        for room in _imports(path):
            sideways = LEVEL.get(room, 99) == LEVEL[here] and room != here
            if LEVEL.get(room, 99) > LEVEL[here] or sideways:
                wrong.append(f"{path.relative_to(ROOT)} imports {room}")
    assert wrong == []


def test_torch_is_not_imported_below_the_frontend() -> None:
    for path in [*(ROOT / "ir").rglob("*.py"), *(ROOT / "passes").rglob("*.py")]:
        modules = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.Import, ast.ImportFrom))}
        assert not any((m or "").split(".")[0] == "torch" for m in modules), path


def test_package_list_matches_the_tree() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"warploom"}
    for name in LEVEL:
        for init in (ROOT / name).rglob("__init__.py"):
            found.add("warploom." + ".".join(init.parent.relative_to(ROOT).parts))
    assert found == listed
