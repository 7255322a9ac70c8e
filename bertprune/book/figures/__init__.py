"""Figures: from rows to pictures that say what they show and which study or run made them."""
