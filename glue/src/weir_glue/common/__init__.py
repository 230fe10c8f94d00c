"""What every stage stands on: plan, records, casts, account, quarantine, output."""
