"""Many pairs of files: outputs of each, engines, state, and templates of groups."""
