"""Notebooks that sphinx-gallery writes from the examples, as a reader runs them."""

import json
from pathlib import Path
import re
from runpy import run_path
import subprocess
import sys

import pytest
from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import jupyter_notebook, save_notebook
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

DOC = Path(__file__).parents[1] / "doc"
EXAMPLES = sorted((DOC / "examples").glob("*.py"))
# A role or a directive of reStructuredText.
MARK = re.compile(r":[a-z:]+:`|^ *\.\. \S+", re.MULTILINE)


@pytest.fixture
def notebook(tmp_path):
    """Return a writer of the notebook of an example, as the documentation has it."""
    ours = run_path(str(DOC / "notebooks.py"))
    conf = {**DEFAULT_GALLERY_CONF, "first_notebook_cell": ours["FIRST_CELL"]}

    def write(example):
        _, blocks = split_code_and_text_blocks(str(example))
        path = tmp_path / f"{example.stem}.ipynb"
        save_notebook(jupyter_notebook(blocks, conf, tmp_path), path)
        ours["tidy"](path)
        return path

    return write


def read_cells(path, kind):
    """Return the cells of a kind, and the text of each."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(c, "".join(c["source"])) for c in cells if c["cell_type"] == kind]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_text_is_markdown(example, notebook):
    path = notebook(example)
    text = "\n".join(text for _, text in read_cells(path, "markdown"))
    assert text.count("# ") and MARK.findall(text) == []
    captions = example.read_text().count(".. rst-class::")
    assert len(re.findall(r"^\*[^\s*][^*]*\.\*$", text, re.MULTILINE)) == captions
    cited = len(set(re.findall(r":footcite:p:`(\w+)", example.read_text())))
    listed = text.partition("## References")[2]
    assert len(re.findall(r"^- .*\d{4}: \S", listed, re.MULTILINE)) == cited


@pytest.mark.slow
@pytest.mark.parametrize("name", ["register_mnist", "register_volumes"])
def test_a_notebook_runs_from_top_to_bottom(name, notebook, monkeypatch):
    monkeypatch.setenv("DIPY_NN_REG_EPOCHS", "1")
    path = notebook(DOC / "examples" / f"{name}.py")
    command = Path(sys.executable).with_name("jupyter-execute")
    done = subprocess.run(
        [command, "--inplace", path], cwd=path.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    cells = read_cells(path, "code")
    assert "%pip install" in cells[0][1]
    for cell, code in cells:
        shown = any("image/png" in out.get("data", {}) for out in cell["outputs"])
        assert shown == ("plt.show()" in code), code
        warned = [out for out in cell["outputs"] if out.get("name") == "stderr"]
        assert warned == [], code
