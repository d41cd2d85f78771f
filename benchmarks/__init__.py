"""How fast, measured: ratios in one run against a peer that does the irreducible work. Never a test: `make bench`."""
