"""Run control: begins a pass, accounts for it, releases the flight, and records failures."""
