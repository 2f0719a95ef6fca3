//! The `sluicegate` program.

// Gives RocksDB and librdkafka jemalloc as well: librdkafka allocates on one thread and frees on another, which glibc's
// arenas are slow at (measured: 12 to 25 % of the order job's throughput).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Freed memory goes back to the system after a second instead of ten: each checkpoint frees what it wrote, and with ten seconds the
/// leavings of two checkpoints lay there (measured: 50 MiB of the order job's peak, for 2 % of its processor time at most).
/// jemalloc looks this symbol up; the environment variable `MALLOC_CONF` goes over it.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: Option<&'static [u8; 20]> = Some(b"dirty_decay_ms:1000\0");

fn main() -> std::process::ExitCode {
    sluicegate::cli::run(std::env::args_os())
}
