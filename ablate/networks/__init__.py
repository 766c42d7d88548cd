"""The networks, computed two ways: readable cells step by step, and torch.nn.

Both are built from the same named parameters (`parameters.initial`), so that weights move between them.
"""
