"""What stands on pages beside figures: tables, sentences made of numbers, cards, records."""
