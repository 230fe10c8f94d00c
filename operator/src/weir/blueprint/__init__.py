"""Pure functions from custom resources to the AWS resources that they want. No I/O here."""
