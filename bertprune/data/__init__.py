"""Text, tokens, pre-training examples and classification tasks."""
