"""Measurements of speed and memory: one module for each table of docs/speed.md."""
