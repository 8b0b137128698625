"""Graphs of networks: files, conversion, measures, comparison, and removal of dead units."""
