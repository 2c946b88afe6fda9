"""The two IRs and everything that gives them meaning: types, text, verifier, interpreter. Torch is never imported here.

Read in this order: `types`, `expr`, `monoid`, `graph`, `kernel`, `text`, `verify`, `interpret`.
"""
