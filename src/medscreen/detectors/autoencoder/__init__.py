"""Autoencoders and variational autoencoders trained on healthy images; the score is the reconstruction residual."""
