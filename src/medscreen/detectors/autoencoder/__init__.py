"""Autoencoders and variational autoencoders trained on healthy images; the score is a residual."""
