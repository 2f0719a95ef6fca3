//! The `sluicegate` program.

// Gives RocksDB and librdkafka jemalloc as well: librdkafka allocates on one thread and frees on another, which glibc's
// arenas are slow at (measured: 12 to 25 % of the order job's throughput).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Freed memory goes back to the system after a second instead of ten: each checkpoint frees what it wrote, and with ten seconds the
/// leavings of two checkpoints lay there (measured: 50 MiB of the order job's peak, for 2 % of its processor time at most).
/// Huge pages where the system gives them to those who ask: the tables of state are read at random, and each read that misses the
/// processor's list of pages costs a walk through theirs (measured: 6 % of the order job's processor time, for 15 MiB of its peak).
/// jemalloc looks this symbol up; the environment variable `MALLOC_CONF` goes over it.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: Option<&'static [u8; 31]> = Some(b"dirty_decay_ms:1000,thp:always\0");

fn main() -> std::process::ExitCode {
    sluicegate::cli::run(std::env::args_os())
}
