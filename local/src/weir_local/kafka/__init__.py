"""A real Apache Kafka broker on loopback, for whoever asks for one."""

from weir_local.kafka.broker import Broker, BrokerError, broker_environment

__all__ = ["Broker", "BrokerError", "broker_environment"]
