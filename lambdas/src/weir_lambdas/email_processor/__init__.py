"""Mails in S3 become landed records: trusted or not, taken apart, their attachments read."""
