"""A real Apache Kafka broker on loopback, for whoever asks for one."""

from weir_local.kafka.broker import Broker, BrokerError

__all__ = ["Broker", "BrokerError"]
