"""Graphs of networks: read, written, measured, compared, and networks made smaller by them."""
