"""What is written down: the parameters of notebooks, and tidy rows."""
