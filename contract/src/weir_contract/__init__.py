"""What crosses a process border in Weir, defined once.

The operator writes source and pipeline configurations, Lambdas write manifests and run records, the
Glue job writes results; each reads what another wrote through these classes alone.
"""
