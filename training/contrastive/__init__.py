"""Self-supervised training of an encoder on unlabelled images, as CONTRIQUE (arXiv 2110.13266)."""
