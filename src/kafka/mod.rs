//! Kafka: reading partitions, transactional output, offsets and their metadata. The only room that imports rdkafka.
