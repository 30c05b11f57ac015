"""Sessions of nox: tests with many versions and backends, documentation and style.

``nox --list`` shows them, ``nox -s style`` runs one. The workflows of GitHub run them.
"""

from pathlib import Path
import shutil

import nox

nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.sessions = ["style", "tests"]

# TensorFlow has wheels for these; newer ones have them with its pre-releases alone.
PYTHONS = ["3.11", "3.12", "3.13"]
NEWEST_PYTHONS = ["3.13", "3.14"]
# Fast tests of what reads and writes files, and of what depends on versions most.
PART = ["tests/test_package.py", "tests/mapping", "tests/metrics", "tests/io"]
# Packages of each backend. JAX bounds the size of what it compiled with filelock.
BACKENDS = {
    "tensorflow": ["tensorflow>=2.21"],
    "jax": ["jax>=0.4.30", "filelock"],
    "torch": ["torch>=2.4"],
}
# Old and unreleased packages warn of each other; warnings of ours are errors.
OUR_WARNINGS = "filterwarnings=default\nerror:::dipy_nn_reg"


@nox.session(python=PYTHONS)
def tests(session):
    """Run the tests as the README does."""
    session.install(".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session):
    """Run fast tests with the lowest versions that pyproject.toml declares."""
    session.install("--resolution", "lowest-direct", *_requirements())
    session.install("--no-deps", ".")
    session.run("pytest", "-n", "2", "-o", OUR_WARNINGS, *(session.posargs or PART))


@nox.session(python=NEWEST_PYTHONS)
def newest(session):
    """Run the tests with the newest versions, pre-releases included.

    Tests that compare with ANTsPy are left out: it asks for older versions of others,
    and lags behind new versions of Python.
    """
    # uv gives way to the first ones that are named.
    newest_first = sorted(_requirements(), key=lambda text: "tensorflow" not in text)
    needed = [text for text in newest_first if not text.startswith("antspyx")]
    session.install("--resolution", "highest", "--prerelease", "allow", *needed)
    session.install("--no-deps", ".")
    files = [p for p in Path("tests").rglob("*.py") if "import ants" in p.read_text()]
    ignored = [f"--ignore={path}" for path in files]
    session.run("pytest", "-n", "2", "-o", OUR_WARNINGS, *ignored, *session.posargs)


@nox.session(python=PYTHONS[0])
@nox.parametrize("backend", ["tensorflow", "jax", "torch"])
def backends(session, backend):
    """Run the tests that are marked for it with one backend, without the others."""
    # As doc/start.rst says.
    session.install("-r", "requirements-no-backend.txt", *BACKENDS[backend])
    session.install("--no-deps", ".")
    session.install(*_requirements(of_package=False))
    session.run(
        "pytest",
        *("-n", "2", "-m", "backends"),
        *session.posargs,
        env={"KERAS_BACKEND": backend},
    )


@nox.session(python=PYTHONS[0])
def docs(session):
    """Build the documentation; its examples as well unless ``-- -D plot_gallery=0``."""
    session.install(".[doc]")
    session.run("sphinx-build", "-W", "-q", *session.posargs, "doc", "doc/_build/html")


@nox.session(python=PYTHONS[0])
def notebooks(session):
    """Run notebooks of examples with what their first cell installs."""
    session.install(".", "ipywidgets")
    session.install("ipykernel", "nbclient", "pybtex", "pytest", "pytest-xdist")
    session.install("sphinx", "sphinx-gallery")
    session.run("pytest", "--all", "tests/test_notebooks.py", *session.posargs)


@nox.session(python=PYTHONS[0])
def style(session):
    """Check the style of code and the spelling of all files."""
    session.install("ruff==0.17.6", "codespell==2.4.1")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")


@nox.session(python=PYTHONS[0])
def build(session):
    """Build an sdist and a wheel in ``dist`` and check them."""
    session.install("build", "twine", "check-wheel-contents")
    shutil.rmtree("build", ignore_errors=True)
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.run("check-wheel-contents", *map(str, Path("dist").glob("*.whl")))


def _requirements(*, of_package=True):
    """Return what the tests require, and the package unless it is left out."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    tools = [text for text in extras["test"] if not text.startswith(project["name"])]
    return [*(project["dependencies"] if of_package else []), *extras["cohort"], *tools]
