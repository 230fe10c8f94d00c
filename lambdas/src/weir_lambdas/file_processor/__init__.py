"""Files in S3 become landed records: found, read once as they were announced, parsed, committed."""
