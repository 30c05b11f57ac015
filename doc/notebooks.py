"""Notebooks of the examples: their first cell, and text without marks of Sphinx."""

import json
from pathlib import Path
import re

from pybtex.database import parse_file

# Without ipywidgets, DIPY's import of tqdm warns in Jupyter.
FIRST_CELL = """\
# The package has to be installed where Jupyter runs. In a clone of the repository:
# %pip install . ipywidgets"""
# Marks of Sphinx that Jupyter would show as they are, and what stands for them.
REPLACEMENTS = [
    (r":footcite:p:`([A-Za-z]+)(\d+)`", r"(\1, \2)"),
    (r":doc:`/(\w+)`", r"`doc/\1.rst`"),
    (r":sup:`(\w+)`", r"<sup>\1</sup>"),
    (r"\.\. rst-class::.*\n\n(.+(?:\n.+)*)", r"*\1*"),
]


def tidy(path):
    """Write the text of a notebook as Markdown alone, with its references.

    Parameters
    ----------
    path : Path
        Notebook of sphinx-gallery, which is changed.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    texts = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    cited = re.findall(r":footcite:p:`(\w+)`", json.dumps(texts))
    for cell in texts:
        text = "".join(cell["source"])
        for pattern, replacement in REPLACEMENTS:
            text = re.sub(pattern, replacement, text)
        cell["source"] = [text.replace(".. footbibliography::", _references(cited))]
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def _references(keys):
    """Return a list of papers in Markdown."""
    papers = parse_file(Path(__file__).with_name("references.bib")).entries
    return "\n".join(f"- {_reference(papers[key])}" for key in sorted(set(keys)))


def _reference(paper):
    authors = [str(person.last_names[0]) for person in paper.persons["author"]]
    title = re.sub("[{}]", "", paper.fields["title"])
    return f"{', '.join(authors)}, {paper.fields['year']}: {title}."
