"""The package as a whole: its imports, names, examples and links."""

from collections import defaultdict
import doctest
from importlib import import_module
from pathlib import Path
import pkgutil
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

import dipy_nn_reg

ROOT = Path(__file__).parents[1]
MODULES = [m.name for m in pkgutil.walk_packages(dipy_nn_reg.__path__, "dipy_nn_reg.")]
# Directives of the page of the API, their members, and imports on any page.
DIRECTIVE = re.compile(r"^\.\. auto(\w+):: (\S+)\n((?:   .*\n)*)", re.MULTILINE)
MEMBERS = re.compile(r":members:(.*(?:\n      .*)*)")
IMPORT = re.compile(r"from (dipy_nn_reg[\w.]*) import (\([^)]*\)|[^#\n]*)")


def test_importing_the_package_loads_no_framework():
    code = (
        "import sys, dipy_nn_reg; "
        "print({'keras', 'tensorflow', 'torch', 'jax', 'dipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("chosen, expected", [(None, "1"), ("0", "0")])
def test_onednn_is_enabled_unless_a_user_chose(chosen, expected, monkeypatch):
    name = "TF_ENABLE_ONEDNN_OPTS"
    monkeypatch.delenv(name)
    if chosen is not None:
        monkeypatch.setenv(name, chosen)
    code = f"import os, dipy_nn_reg; print(os.environ[{name!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == expected


def test_public_names():
    for name in dipy_nn_reg.__all__:
        assert getattr(dipy_nn_reg, name)
        assert name in dir(dipy_nn_reg)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dipy_nn_reg.nothing


def public_names():
    """Return the names on the page of the API, by the module that it imports from."""
    names = defaultdict(set)
    for kind, path, options in DIRECTIVE.findall((ROOT / "doc/api.rst").read_text()):
        members = MEMBERS.search(options)
        if kind != "module":
            module, _, name = path.rpartition(".")
            names[module].add(name)
        elif members:
            listed = re.findall(r"\w+", members[1])
            names[path].update(listed or exported(import_module(path)))
    return names


def exported(module):
    """Return the public names of a module, of which autodoc shows all by default."""
    own = [n for n, value in vars(module).items() if is_of(value, module)]
    return getattr(module, "__all__", [n for n in own if not n.startswith("_")])


def is_of(value, module):
    return getattr(value, "__module__", None) == module.__name__


def test_the_page_of_the_api_has_what_packages_export_and_no_more():
    public = public_names()
    assert "dipy_nn_reg" in public and len(public) > 20
    for name, listed in public.items():
        module = import_module(name)
        for one in listed:
            assert hasattr(module, one), f"{name}.{one}"
        if hasattr(module, "__path__") and hasattr(module, "__all__"):
            assert listed == set(module.__all__) - {"__version__"}, name


def test_examples_and_pages_import_public_names():
    """The lower part of the page on extensions is about changes of the package."""
    public = public_names()
    paths = [
        ROOT / "README.md",
        *ROOT.glob("doc/*.rst"),
        *ROOT.glob("doc/examples/*.py"),
    ]
    for path in paths:
        text = path.read_text().partition("\nInside the package\n")[0]
        for module, names in IMPORT.findall(text):
            private = set(re.findall(r"\w+", names)) - public[module]
            assert not private, f"{path.name} imports {private} from {module}"


def test_modules_for_syn_results_do_not_import_keras():
    """Imported one after the other."""
    names = ("metrics", "mapping", "io.fields", "viz", "quality.beside_syn")
    names += ("quality.reports",)
    code = "import sys\n" + "".join(
        f"import dipy_nn_reg.{name}; print('{name}', 'keras' in sys.modules)\n"
        for name in names
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{n} False" for n in names], done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(module), extraglobs={"np": np})
    assert result.failed == 0


def test_each_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[\w-]+", text)[0] for text in project["dependencies"]]
    page = (ROOT / "doc/design.rst").read_text()
    section = page.split("Dependencies\n---")[1].split("\n---")[0]
    assert re.findall(r"^\* ``([\w-]+)``: \w", section, re.MULTILINE) == names


def test_requirements_without_a_backend_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements-no-backend.txt").read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    needed = project["dependencies"]
    assert listed == [text for text in needed if not text.startswith("tensorflow")]


def test_links_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'src="([^"]+)"', text)
    local = [link for link in links if "://" not in link]
    assert len(local) > 5
    assert [link for link in local if not (ROOT / link).exists()] == []
