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
    _install_requirements(session, "--resolution", "lowest-direct")
    session.run("pytest", "-n", "2", "-o", OUR_WARNINGS, *(session.posargs or PART))


@nox.session(python=NEWEST_PYTHONS)
def newest(session):
    """Run the tests with the newest versions, pre-releases included."""
    _install_requirements(session, "--resolution", "highest", "--prerelease", "allow")
    session.run("pytest", "-n", "2", "-o", OUR_WARNINGS, *session.posargs)


@nox.session(python=PYTHONS[0])
@nox.parametrize("backend", ["tensorflow", "jax", "torch"])
def backends(session, backend):
    """Run the tests that are marked for it with one backend of Keras."""
    others = {"tensorflow": [], "jax": ["jax>=0.4.30"], "torch": ["torch>=2.4"]}
    session.install(".[test]", *others[backend])
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


def _install_requirements(session, *options):
    """Install what pyproject.toml requires, in versions by options, and the package."""
    session.install(*options, "-r", "pyproject.toml", "--extra", "test")
    session.install("--no-deps", ".")
