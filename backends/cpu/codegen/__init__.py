"""From a scheduled Program to C++ statements.

`expand` writes unroll loops out and gives buffers unique names; `place` decides where each buffer lives (registers, stack, scratch);
`values` and `vectors` print expressions at width 1 and on native vectors, with `dtypes` (types), `linear` (addresses and strides) and
`writer` (lines, names); `reductions` and `statements` print the rest. `..printer` is the front door.
"""
