"""Structure of the package: imports point down, private names stay at home, sizes."""

import ast
from pathlib import Path

import pytest

import dipy_nn_reg

PACKAGE = Path(dipy_nn_reg.__file__).parent
# Rooms from the ground up: each may import those above it in this list.
ROOMS = [
    "determinant",
    "symmetric",
    "processes",
    "quiet",
    "progress",
    "text",
    "tracing",
    "intensities",
    "annotations",
    "backend",
    "checks",
    "memory",
    "transform",
    "metrics",
    "losses",
    "networks",
    "mapping",
    "io",
    "viz",
    "quality",
    "data",
    "pairwise",
    "diffusion",
    "training",
    "registration",
    "model",
    "cohort",
    "workflows",
]
# Rooms that do not know each other, whatever their order.
STRANGERS = {("training", "pairwise"), ("pairwise", "training")}
# Rooms that serve results of other programs, and need no Keras.
WITHOUT_KERAS = {"metrics", "io", "viz", "quality", "intensities", "checks", "text"}
MAX_LINES, MAX_BODY, MAX_PARAMETERS = 300, 30, 8
# Longer for the documentation of what a user meets: its methods, or its options.
LONG_FILES = {"registration.py"}
# Functions that face a user, whose options are as many as they are; ``run`` of a
# workflow too, whose options DIPY reads from its signature.
FACING_USERS = {
    "cohort.template.build_template",
    "cohort.register_cohort.register_cohort",
    "model.__init__",
    "pairwise.register.register",
    "quality.reports.report",
    "registration.fit",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """Return the dotted name of a file, without that of the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): ast.parse(path.read_text()) for path in FILES}
MODULES.pop("")


def imports(tree):
    """Yield the modules of this package that a module imports, and the names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("dipy_nn_reg"):
            base = node.module.removeprefix("dipy_nn_reg").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".removeprefix(".")
                yield (full if full in MODULES else base), alias.name


def room_of(module):
    return module.split(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    room = room_of(module)
    below = ROOMS[: ROOMS.index(room)]
    for imported, _ in imports(MODULES[module]):
        other = room_of(imported)
        # The package itself has the names of what a user meets.
        if other and other != room:
            assert other in below, f"{module} imports {imported}"
            assert (room, other) not in STRANGERS, f"{module} imports {imported}"


def test_imports_make_no_circle():
    done, ways = set(), []

    def visit(module):
        assert module not in ways, " -> ".join([*ways, module])
        if module in done or module not in MODULES:
            return
        ways.append(module)
        for imported, _ in imports(MODULES[module]):
            if imported != module:
                visit(imported)
        ways.pop()
        done.add(module)

    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_in_their_file(module):
    private = [name for _, name in imports(MODULES[module]) if name.startswith("_")]
    assert [name for name in private if name != "__version__"] == []


@pytest.mark.parametrize("module", MODULES)
def test_keras_is_imported_where_it_is_needed(module):
    if room_of(module) not in WITHOUT_KERAS:
        return
    top = [node for node in MODULES[module].body if isinstance(node, ast.ImportFrom)]
    top += [node for node in MODULES[module].body if isinstance(node, ast.Import)]
    roots = {
        (getattr(node, "module", None) or node.names[0].name).split(".")[0]
        for node in top
    }
    assert not roots & {"keras", "tensorflow"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short(path):
    if path.name not in LONG_FILES:
        assert len(path.read_text().splitlines()) <= MAX_LINES


def body_of(function):
    """Return the number of lines of a function, without its docstring."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("module", MODULES)
def test_functions_are_short_and_take_few_parameters(module):
    for node in ast.walk(MODULES[module]):
        if not isinstance(node, ast.FunctionDef):
            continue
        if f"{module}.{node.name}" in FACING_USERS or (
            room_of(module) == "workflows" and node.name == "run"
        ):
            continue
        where = f"{node.name}, line {node.lineno}"
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = {parameter.arg for parameter in parameters} - {"self", "cls"}
        assert body_of(node) <= MAX_BODY, where
        assert len(names) <= MAX_PARAMETERS, where


@pytest.mark.parametrize("module", MODULES)
def test_each_module_says_what_it_is(module):
    text = ast.get_docstring(MODULES[module])
    assert text
    first = text.split()[0]
    assert first not in {"What", "How", "Which", "In", "Where", "Who"}, text


def test_names_that_the_next_dipy_moves_are_not_imported():
    """``dipy.align.VerbosityLevels`` warns from DIPY 1.13 on; a level is an integer."""
    root = Path(__file__).parents[1]
    sources = [
        p for folder in ("dipy_nn_reg", "tools") for p in (root / folder).rglob("*.py")
    ]
    assert [p.name for p in sources if "VerbosityLevels" in p.read_text()] == []
