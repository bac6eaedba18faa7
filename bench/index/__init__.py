"""The index side by side with its peers: `python -m bench.index`; see docs/benchmarks.md."""
