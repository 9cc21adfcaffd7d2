"""Code shared by families: the protocol, the optimizer loop, augmentation, losses."""
