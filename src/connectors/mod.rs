//! Sources and sinks that are not Kafka.
