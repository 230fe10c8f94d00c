"""Streams as on AWS: Kinesis's shards, Lambda's mappings of Kinesis and Kafka, schema registries."""
