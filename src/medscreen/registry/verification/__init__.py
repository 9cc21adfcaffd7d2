"""Whether a registered version is what it was, and whether the workspace is still what it was made from."""
