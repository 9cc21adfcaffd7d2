"""The embedded data set: simulated chest films as hospitals would export them."""
