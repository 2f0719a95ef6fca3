//! Keyed state: typed write-back tables over one RocksDB.
