"""Schedules: a program and a script of steps go in, the rewritten program comes out. Read `script` first, then one file per family."""
