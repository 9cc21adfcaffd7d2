"""What several families share: the protocol, the optimizer loop, augmentation, losses."""
