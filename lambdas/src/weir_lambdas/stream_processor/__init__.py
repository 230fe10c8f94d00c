"""Lands the records of Kinesis streams and Kafka topics: received in small objects, sealed into parts."""
