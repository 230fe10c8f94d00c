"""Writes the SQL of a load and of an UNLOAD, and reads what the load's ledger says."""
