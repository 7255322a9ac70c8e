"""Power: how often the rules of the ledger are right where the truth is known."""
