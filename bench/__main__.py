"""`make bench`."""

from bench.mesh_vs_poc import main

main()
