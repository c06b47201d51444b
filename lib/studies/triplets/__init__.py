"""Triplets: do label relations make a better classifier?

I. S. Petrova, *Method of training image classifiers using additional labels*, Modeling,
Optimization and Information Technology 13(2), 2025. Equation numbers in this package are hers.
"""
