"""Parts of ``tools/fuzz.py``: cases, their ingredients, and the judge of outcomes."""
