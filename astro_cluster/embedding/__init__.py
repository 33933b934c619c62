"""Fewer coordinates of the rows of a table: PCA, t-SNE, autoencoders."""
