"""Pieces that a reader can move: charts with a slider, offline, and a figure in their place where
there is no JavaScript."""
