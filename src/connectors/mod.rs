//! Sources and sinks that are not Kafka, and the load of the order job.
//!
//! | source | position | ends |
//! | --- | --- | --- |
//! | [`FileSource`] | byte | at the end of the files, or never ([`FileSource::follow`]) |
//! | [`Collection`] | index | yes |
//! | [`Generator`] | sequence number | after [`Generator::count`], or never |
//! | [`SocketSource`] | line, but it cannot be read again | when the other end closes, or never ([`SocketSource::reconnect`]) |
//!
//! | sink | guarantee |
//! | --- | --- |
//! | [`FileSink`] | exactly once: files are renamed when the checkpoint commits |
//! | [`Collected`] | exactly once, for the life of the process |
//! | [`Stdout`] | at least once |
//!
//! | item | what it is |
//! | --- | --- |
//! | [`orders_load`] | the standard load of the order job: seeded, endless or counted, the same on every machine |

mod collected;
mod collection;
#[cfg(test)]
mod conformance_tests;
mod file_sink;
mod file_source;
mod generator;
mod line_buffer;
mod line_decoder;
pub mod orders_load;
mod random;
mod socket_source;
mod splits;
mod stdout;

pub use collected::Collected;
pub use collection::{Collection, CollectionDecoder};
pub use file_sink::FileSink;
pub use file_source::FileSource;
pub use generator::{Generator, GeneratorDecoder};
pub use line_decoder::LineDecoder;
pub use random::Random;
pub use socket_source::SocketSource;
pub use stdout::Stdout;
