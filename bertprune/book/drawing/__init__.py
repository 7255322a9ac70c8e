"""How figures are drawn: their look, panels, and the picture that a page shows."""
