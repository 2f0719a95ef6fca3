//! Sources and sinks that are not Kafka.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`orders_load`] | the standard load of the order job: seeded, endless or counted, the same on every machine |

pub mod orders_load;
