"""What the operators of a model become: a table of them, and what was measured of each."""
