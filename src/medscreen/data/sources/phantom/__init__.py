"""The phantom: simulated chest films in the form of hospital exports."""
