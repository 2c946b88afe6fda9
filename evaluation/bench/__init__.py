"""evaluation/bench."""
