"""The nn.Modules, one noun a file; they know pixels and tensors, no settings and no labels."""
