"""Parts of ``tools/fuzz.py``: cases, what they are made of, and who judges them."""
