"""BERT: its forward pass, and its files."""
