"""The package as a whole: its imports, names, examples and links."""

import doctest
from importlib import import_module
from pathlib import Path
import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest

import dipy_nn_reg

ROOT = Path(__file__).parents[1]
MODULES = [m.name for m in pkgutil.walk_packages(dipy_nn_reg.__path__, "dipy_nn_reg.")]


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


@pytest.mark.parametrize(
    "module",
    ["metrics", "mapping", "io.fields", "viz", "quality.beside_syn", "quality.reports"],
)
def test_modules_for_syn_results_do_not_import_keras(module):
    code = f"import sys, dipy_nn_reg.{module}; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("False"), done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(module), extraglobs={"np": np})
    assert result.failed == 0


def test_links_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    local = [link for link in links if "://" not in link]
    assert len(local) > 5
    assert [link for link in local if not (ROOT / link).exists()] == []
