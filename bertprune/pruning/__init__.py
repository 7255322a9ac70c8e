"""Pruning: which matrices (`matrices`), what to remove (`masks`), when (`schedule`), and the
object that does it during training (`pruner`)."""
