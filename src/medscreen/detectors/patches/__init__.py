"""PaDiM and PatchCore: patches of a frozen backbone's feature maps."""
