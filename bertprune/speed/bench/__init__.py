"""The benchmark: our steps timed in turn with those of the libraries a user would pick instead.

Nothing that trains imports from here.
"""
