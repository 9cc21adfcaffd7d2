"""Images: where they come from, how a file becomes display gray, and how they are split."""
