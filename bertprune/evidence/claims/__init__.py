"""The paper's claims, and the rules that test them."""
