"""The lab language: generated text whose information content is known to the bit."""
