"""From a scheduled Program to C++ statements: `expand` (unroll, unique names), `place` (where each buffer lives), `values` and
`vectors` (expressions at width 1 and on native vectors), `reductions`, `statements`."""
