"""Benches: what the mesh gains over the proof of concept it replaces, and how well it finds."""
