//! The `sluicegate` program.

// Gives RocksDB and librdkafka jemalloc as well: librdkafka allocates on one thread and frees on another, which glibc's
// arenas are slow at (measured: 12 to 25 % of the order job's throughput).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    sluicegate::cli::run(std::env::args_os())
}
