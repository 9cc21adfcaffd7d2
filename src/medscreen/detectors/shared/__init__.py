"""Code shared by families: the Detector protocol, the training loop, augmentation, losses."""
