"""Commands: workflows of DIPY, and their console scripts."""
