"""The floors of the package: a unit (a package or a module of `adatad_jax`) imports only units of lower floors."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "adatad_jax"

# From the ground up. Units on one floor do not import each other. Lazy imports and those for types alone count too.
FLOORS = (
    ("errors",),
    ("files", "console", "devices"),
    ("models", "augmentation", "video"),
    ("detection", "pretraining", "classification", "postprocessing", "annotations"),
    ("config",),
    ("data",),
    ("training", "conversion", "evaluation"),
    ("weights", "analysis"),
    ("inference", "outputs"),
    ("report", "diagnosis"),
    ("pipelines",),
    ("cli",),
    ("train", "pretrain", "finetune", "classify", "evaluate", "detect", "prepare", "doctor", "demo", "commands"),
    ("__main__", "__init__"),
)
COMMANDS = {"annotations.__main__": "commands"}


def modules() -> dict[str, Path]:
    """Dotted name, without the package's own, -> file; `__init__` is the package itself."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return names


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, at its top, in a function, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}".removeprefix(f"{PACKAGE.name}.")
                yield whole if whole in known else node.module.removeprefix(PACKAGE.name).lstrip(".") or "__init__"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE.name:
                    yield alias.name.removeprefix(PACKAGE.name).lstrip(".") or "__init__"
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import; name the module in full"


def arrows() -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def unit_of(module: str) -> str:
    """The unit of a module: a command that stands in the package which it opens (`python -m`) is among the commands."""
    return COMMANDS.get(module, module.split(".")[0])


def floor_of() -> dict[str, int]:
    return {unit: floor for floor, units in enumerate(FLOORS) for unit in units}


def test_a_name_is_of_one_class() -> None:
    """Of all classes that other files can see."""
    places: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_every_unit_has_its_floor() -> None:
    assert {unit_of(module) for module in modules()} == set(floor_of())


def test_imports_run_down() -> None:
    floors = floor_of()
    up = [
        f"{source} -> {target}"
        for source, targets in arrows().items()
        for target in sorted(targets)
        if unit_of(source) != unit_of(target)
        and floors.get(unit_of(target), len(FLOORS)) >= floors.get(unit_of(source), len(FLOORS))
    ]
    assert not up, "\n".join(["imports that run up, or across a floor:", *up])


def test_reading_a_configuration_loads_little() -> None:
    """A file in `configs/` needs the fields, and what their bounds are made of."""
    graph = arrows()
    reached, left = set[str](), ["config"]
    while left:
        module = left.pop()
        if module not in reached:
            reached.add(module)
            left += graph[module]
    assert reached <= {
        "config",
        "config.fields",
        "config.records",
        "config.run_fields",
        "config.settings",
        "annotations.format_keys",
        "models.sizes",
        "errors",
    }


def test_no_module_imports_itself_through_others() -> None:
    graph = arrows()
    circles = [" -> ".join(path) for module in graph if (path := circle(graph, module))]
    assert not circles, "\n".join(["circles of modules:", *circles])


def circle(graph: dict[str, set[str]], start: str) -> list[str]:
    """The shortest way from a module back to itself, empty if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for target in sorted(graph.get(way[-1], ())):
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def test_functions_are_short() -> None:
    """At most 60 lines, docstrings included."""
    long = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno >= 60
    ]
    assert not long
