"""Experiments: runs, studies, executing them, and taking them elsewhere."""
