"""HTTP service that screens uploaded images with the version in a registry stage."""
