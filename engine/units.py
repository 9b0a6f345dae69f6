"""Units of memory: sizes are GiB everywhere."""

MIB, GIB = 1 << 20, 1 << 30
