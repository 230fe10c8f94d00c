"""A real Apache Kafka broker on loopback, for whoever asks for one."""

from weir_local.kafka.broker import Broker, BrokerError, broker_environment, warm
from weir_local.kafka.jars import JarsMissing

__all__ = ["Broker", "BrokerError", "JarsMissing", "broker_environment", "warm"]
