"""frontend/zoo."""
