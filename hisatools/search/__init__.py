"""The two searches and what they are made of."""
