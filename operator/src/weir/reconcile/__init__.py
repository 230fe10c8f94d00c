"""The engine: what is wanted against what AWS has, and the steps from one to the other."""
