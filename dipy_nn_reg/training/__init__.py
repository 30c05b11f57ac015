"""Training and use of a network that registers many pairs."""
