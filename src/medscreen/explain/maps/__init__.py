"""Map networks, one kind a file: images (N, 1, S, S) in 0..1 to maps (N, 1, S, S), 0 and above. Needs torch."""
