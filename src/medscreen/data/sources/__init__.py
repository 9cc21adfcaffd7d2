"""Image sources: one file a kind of source, each gives the same Record."""
