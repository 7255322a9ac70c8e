"""What the paper looks at inside a model: weights, their movement, masks, heads, embeddings and
features.

All functions are pure and give entries of a history, which become rows. They take weights on
any device and go through them matrix by matrix.
"""
