"""Configuration of the documentation: sphinx-build -W doc doc/_build/html."""

import os
from pathlib import Path
import re
from runpy import run_path

from dipy_nn_reg import __version__

project = "dipy_nn_reg"
copyright = "2026, the dipy_nn_reg developers"
release = version = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "sphinxcontrib.programoutput",
]
exclude_patterns = ["_build", "examples"]
# The pages show the output of commands, which should not include TensorFlow's log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
programoutput_prompt_template = "$ {command}\n{output}"
html_theme = "pydata_sphinx_theme"
html_title = "dipy_nn_reg"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {"header_links_before_dropdown": 6, "navbar_align": "left"}
# Numbers that pages quote, from the tables: |2 mm, register, Dice|.
rst_epilog = run_path(str(Path(__file__).with_name("numbers.py")))["substitutions"]()
bibtex_bibfiles = ["references.bib"]
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

notebooks = run_path(str(Path(__file__).with_name("notebooks.py")))
# Examples that need no data of the user's, as a pattern of file names.
NO_DATA_NEEDED = (
    "register_mnist|replace_syn|register_slices|register_modalities|register_stains"
    "|register_diffusion|register_group|undistort_epi"
    "|register_volumes|own_network"
)

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    # All examples run, except that on brains if there are none.
    "filename_pattern": "" if "DIPY_NN_REG_BRAINS" in os.environ else NO_DATA_NEEDED,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "first_notebook_cell": notebooks["FIRST_CELL"],
    "show_memory": False,
}
suppress_warnings = ["config.cache"]


def escape_shapes(app, what, name, obj, options, lines):
    """Keep the star of a shape such as (batch, *spatial) from opening an emphasis."""
    lines[:] = [
        re.sub(r"\*(spatial|shape|points|coarse)\b", r"\\*\1", line) for line in lines
    ]


def draw_figures(app):
    """Draw the figures of the pages."""
    for script in sorted(Path(app.srcdir, "figures").glob("*.py")):
        run_path(str(script))["draw"](Path(app.srcdir, "images"))


def prepare_runs(app):
    """Write the input files of the commands whose output the pages show."""
    folder = Path(app.srcdir, "runs")
    run_path(str(folder / "prepare.py"))["prepare"](folder / "files")


def list_rooms(app):
    """Write the list of rooms that the page on the design includes."""
    run_path(str(Path(app.srcdir, "rooms.py")))["write"](Path(app.srcdir, "rooms.inc"))


def tidy_notebooks(app):
    """Rewrite the text of the notebooks, which sphinx-gallery has written by now."""
    for path in Path(app.srcdir, "auto_examples").glob("*.ipynb"):
        notebooks["tidy"](path)


def setup(app):
    app.connect("builder-inited", list_rooms)
    app.connect("builder-inited", prepare_runs)
    app.connect("builder-inited", draw_figures)
    app.connect("builder-inited", tidy_notebooks, priority=900)
    app.connect("autodoc-process-docstring", escape_shapes, priority=400)
