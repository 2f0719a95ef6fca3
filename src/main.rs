//! The `sluicegate` program.

// Gives RocksDB and librdkafka jemalloc as well: librdkafka allocates on one thread and frees on another, which glibc's
// arenas are slow at (measured: 12 to 25 % of the order job's throughput).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Freed memory goes back to the system after a quarter of a second instead of ten: each checkpoint frees what it wrote, and with ten
/// seconds the leavings of two checkpoints lay there. One arena for each core instead of four: what a thread frees another one can use at
/// once, and there are four times fewer half-filled pages. (Measured with 1.3 million orders and `state.memory` of 256 MiB: a second
/// and four arenas 470 MiB, a quarter of a second 435, with one arena for each core as well 398; processor time 74.0, 72.6, 67.5 s.)
/// Huge pages where the system gives them to those who ask: the tables of state are read at random, and each read that misses the
/// processor's list of pages costs a walk through theirs (measured: 6 % of the order job's processor time, for 15 MiB of its peak).
/// jemalloc looks this symbol up; the environment variable `MALLOC_CONF` goes over it.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: Option<&'static [u8; 50]> = Some(b"dirty_decay_ms:250,thp:always,percpu_arena:percpu\0");

fn main() -> std::process::ExitCode {
    sluicegate::cli::run(std::env::args_os())
}
