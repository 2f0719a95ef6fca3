//! How RocksDB is tuned, and why.

use super::{Backend, Horizon, Settings};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, Options, WriteBufferManager,
    statistics::{StatsLevel, Ticker},
};

/// The options of one store; its column families share cache and buffers.
pub(super) struct Tuning {
    database: Options,
    blocks: BlockBasedOptions,
    cache: Cache,
    memtables: usize,
    backend: Backend,
}

impl Tuning {
    pub(super) fn new(settings: &Settings) -> Self {
        let split = settings.split();
        // Hyper clock: no lock per look-up, and no shards so small that two filters evict each other. Entries are about a block.
        let cache = Cache::new_hyper_clock_cache(split.block_cache, BLOCK_BYTES);

        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache);
        blocks.set_block_size(BLOCK_BYTES);
        blocks.set_format_version(6);
        blocks.set_bloom_filter(10.0, false);
        // Filters and indexes grow with the state, so they live in the cache, in partitions: a whole filter of a large file in a
        // small cache is read again by each look-up of an absent key, which made the order job four times slower.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(BLOCK_BYTES);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_top_level_index_and_filter(true);

        let mut database = Options::default();
        database.create_if_missing(true);
        database.create_missing_column_families(true);
        // Two cores that the job needs itself: one compaction at a time beside it.
        database.set_max_background_jobs(2);
        database.set_max_open_files(-1);
        database.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(split.memtables, false));
        database.set_keep_log_file_num(1);
        database.set_stats_dump_period_sec(0);
        database.set_stats_persist_period_sec(0);
        // Each ingested file is announced there; small so that a snapshot copies little.
        database.set_max_manifest_file_size(1 << 20);
        if settings.statistics {
            database.enable_statistics();
            database.set_statistics_level(StatsLevel::ExceptTimers);
        }
        Self { database, blocks, cache, memtables: split.memtables, backend: settings.backend }
    }

    pub(super) fn database(&self) -> &Options {
        &self.database
    }

    /// Options of one column family; with a time to live its compactions remove what is past the horizon.
    pub(super) fn family(&self, ttl_ms: Option<u64>, horizon: &Horizon) -> Options {
        let mut options = Options::default();
        options.set_block_based_table_factory(&self.blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.memtables);
        options.set_level_compaction_dynamic_level_bytes(true);
        // A checkpoint brings one file per state, or a few when much has changed. Sixteen of them are about as large as level 1 before
        // they are merged into it: fewer rewrites of that, and a get of a key that may exist asks at most sixteen more filters.
        options.set_level_zero_file_num_compaction_trigger(16);
        // Files that are ingested wait for nothing below the second of these.
        options.set_level_zero_slowdown_writes_trigger(48);
        options.set_level_zero_stop_writes_trigger(64);
        options.set_target_file_size_base(16 << 20);
        options.set_max_bytes_for_level_base(64 << 20);
        // Each checkpoint replaces everything: there is nothing to merge.
        options.set_disable_auto_compactions(self.backend == Backend::Memory);
        if let Some(ttl_ms) = ttl_ms {
            horizon.install(&mut options, ttl_ms);
        }
        options
    }

    /// (bytes in the block cache, pinned ones).
    pub(super) fn cache_usage(&self) -> (usize, usize) {
        (self.cache.get_usage(), self.cache.get_pinned_usage())
    }

    /// (filter, data) block cache misses.
    pub(super) fn cache_misses(&self) -> (u64, u64) {
        let count = |ticker| self.database.get_ticker_count(ticker);
        (count(Ticker::BlockCacheFilterMiss), count(Ticker::BlockCacheDataMiss))
    }
}

/// One page: what one absent key or one cold value costs to read.
const BLOCK_BYTES: usize = 4096;
