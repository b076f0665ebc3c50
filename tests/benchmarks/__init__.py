"""Benchmarks: `make bench` runs all of them, `make bench ARGS="trainer scale"` some; they print, and assert nothing."""
