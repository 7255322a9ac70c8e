"""What becomes of pages on their way to a web site."""
