"""Operators to make programs from: `table.OPERATORS`, each with its parameter space, realistic shapes and a float64 reference."""
