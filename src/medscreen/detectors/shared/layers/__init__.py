"""Building blocks (nn.Module) on pixels and tensors, independent of settings and labels."""
