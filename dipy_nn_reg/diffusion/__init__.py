"""Diffusion MRI: distortion, reorientation, series."""
