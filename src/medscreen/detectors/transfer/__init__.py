"""Pretrained backbones fine-tuned on both classes."""
