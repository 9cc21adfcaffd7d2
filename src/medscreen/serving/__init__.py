"""HTTP service: screens uploaded images with the version that a stage of the registry holds."""
