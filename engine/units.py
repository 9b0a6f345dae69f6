"""The unit of memory: sizes are GiB everywhere."""

GIB = 1 << 30
