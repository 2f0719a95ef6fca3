//! What state costs: nanoseconds per access and entry, microseconds per freeze, CPU-seconds per million events of an order-like
//! load. Run alone on the machine:
//!
//! ```text
//! cargo bench --profile release --bench state            # all
//! cargo bench --profile release --bench state -- load    # one: access, absent, load
//! EVENTS=8000000 MEMORY=134217728 cargo bench --profile release --bench state -- load
//! ```
//!
//! `--profile release`, because another profile would compile RocksDB once more.
#![allow(missing_docs)]

use compact_str::{CompactString, format_compact};
use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use sluicegate::{protocol::CheckpointId, state::*};
use std::{error::Error, sync::Arc, time::Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// As the order job tracks an order.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Order {
    status: u8,
    created: Option<i64>,
    paid: Option<i64>,
    shipped: Option<i64>,
    delivered: Option<i64>,
    cancelled: Option<i64>,
}
impl StateValue for Order {}

/// As the order job remembers which events of an order it has seen.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Events {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipped: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<i64>,
}
impl StateValue for Events {
    fn written_at(&self) -> Option<i64> {
        [self.created, self.paid, self.shipped, self.delivered, self.cancelled].into_iter().flatten().max()
    }
}

impl Events {
    fn slot(&mut self, stage: usize) -> &mut Option<i64> {
        match stage {
            0 => &mut self.created,
            1 => &mut self.paid,
            2 => &mut self.shipped,
            3 => &mut self.delivered,
            _ => &mut self.cancelled,
        }
    }

    fn at(&self, stage: usize) -> Option<i64> {
        self.clone().slot(stage).to_owned()
    }
}

type Seen = Table<CompactString, Events>;
type Orders = Table<CompactString, Order>;

struct Rig {
    store: Arc<Store>,
    seen: Seen,
    orders: Orders,
    budget: Arc<Budget>,
    writer: Writer,
    events: Receiver<WriterEvent>,
    next: CheckpointId,
    _dir: tempfile::TempDir,
}

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl Rig {
    fn new(memory: usize) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut settings = Settings::new(dir.path(), memory);
        settings.statistics = variable("STATISTICS", 0) == 1;
        let states =
            [StateDescriptor::value::<CompactString>("dedup", "seen"), StateDescriptor::value::<CompactString>("track", "order")];
        let workspace = Workspace::create(&settings.dir, &"bench".parse()?)?;
        let store = Store::create(workspace, &states, &settings)?;
        let groups = KeyGroups::default();
        let options = TableOptions { groups, owned: groups.range(0, 1), starts_empty: variable("KNOWS", 1) == 1 };
        let budget = Budget::of(&settings);
        let mut plan = Plan::new(store.clone());
        let seen = Table::new(store.clone(), plan.port(store.state("dedup", "seen")?), &budget, options.clone())?;
        let orders = Table::new(store.clone(), plan.port(store.state("track", "order")?), &budget, options)?;
        let (report, events) = crossbeam_channel::unbounded();
        let writer = plan.start(move |event| drop(report.send(event)))?;
        Ok(Self { store, seen, orders, budget, writer, events, next: CheckpointId(1), _dir: dir })
    }

    fn freeze(&mut self) -> Result {
        self.seen.freeze(self.next)?;
        self.orders.freeze(self.next)?;
        self.next = self.next.next();
        Ok(())
    }

    fn encode(&mut self, max: usize) -> Result<bool> {
        Ok(self.seen.encode_slice(max)? & self.orders.encode_slice(max)?)
    }

    fn await_snapshot(&mut self) -> Result<SnapshotReady> {
        while !self.encode(usize::MAX)? {
            std::thread::yield_now();
        }
        match self.events.recv()? {
            WriterEvent::Snapshot(ready) => Ok(ready),
            WriterEvent::Failed(failure) => Err(failure.into()),
        }
    }
}

/// CPU-seconds of this process so far: clock ticks of 10 ms in fields 14 and 15 (proc(5)).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// CPU-seconds per thread name: first field of schedstat, nanoseconds.
fn cpu_by_thread() -> std::collections::BTreeMap<String, f64> {
    let mut by_name = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split_whitespace().next().and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        *by_name.entry(read("comm").trim().to_owned()).or_default() += nanos / 1e9;
    }
    by_name
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

fn order(number: usize) -> Key<CompactString> {
    Key::new(format_compact!("O-{number:09}"))
}

/// CPU nanoseconds of this thread so far.
fn cpu_nanos() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or_default()
}

fn timed<R>(what: &str, times: usize, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let begin = cpu_nanos();
    let result = work()?;
    println!("{what:<58} {:>9.1} ns", (cpu_nanos() - begin) / times.max(1) as f64);
    Ok(result)
}

/// One million entries, all in memory.
fn access() -> Result {
    const N: usize = 1_000_000;
    let mut rig = Rig::new(4 << 30)?;
    let keys: Vec<Key<CompactString>> = (0..N).map(order).collect();
    timed("key of an order: text and hash", N, || {
        (0..N).for_each(|number| drop(std::hint::black_box(order(number))));
        Ok(())
    })?;
    timed("insert_if_absent, new order", N, || {
        for (number, key) in keys.iter().enumerate() {
            rig.seen.insert_if_absent(key, Events { created: Some(number as i64), ..Events::default() })?;
        }
        Ok(())
    })?;
    timed("upsert, new order", N, || {
        for (number, key) in keys.iter().enumerate() {
            rig.orders.upsert(key, Order::default)?.created = Some(number as i64);
        }
        Ok(())
    })?;
    timed("upsert, known order, changed before", N, || {
        for (number, key) in keys.iter().enumerate() {
            rig.orders.upsert(key, Order::default)?.paid = Some(number as i64);
        }
        Ok(())
    })?;
    let begin = Instant::now();
    rig.freeze()?;
    println!("{:<58} {:>9.1} us", "freeze of two tables, 1 M changed entries each", begin.elapsed().as_nanos() as f64 / 1e3);
    timed("get, known order", N, || {
        for key in &keys {
            std::hint::black_box(rig.orders.get(key)?);
        }
        Ok(())
    })?;
    timed("upsert, frozen and not yet encoded (copy on write)", N / 4, || {
        for (number, key) in keys.iter().take(N / 4).enumerate() {
            rig.orders.upsert(key, Order::default)?.shipped = Some(number as i64);
        }
        Ok(())
    })?;
    let mut worst = 0;
    let begin = Instant::now();
    let mut waiting = 0;
    loop {
        let slice = Instant::now();
        let all = rig.encode(2000)?;
        let took = slice.elapsed().as_micros();
        if all {
            break;
        }
        if took < 20 {
            waiting += 1;
            std::thread::yield_now();
        }
        worst = worst.max(took);
    }
    println!(
        "{:<58} {:>9.1} ns (worst slice of 2 x 2000: {worst} us, {waiting} times the writer was behind)",
        "encode and hand over, per entry, with waiting",
        begin.elapsed().as_nanos() as f64 / (2.0 * N as f64)
    );
    let ready = rig.await_snapshot()?;
    let timings = ready.timings;
    println!(
        "{:<58} {:>9.1} ns ({} entries, {} bytes each on disk; link {:?})",
        "sort and write, per entry",
        timings.write.as_nanos() as f64 / timings.entries as f64,
        timings.entries,
        timings.bytes / timings.entries,
        timings.link
    );
    Ok(())
}

/// Look-ups of keys that do not exist, while two million do and nearly none is in memory.
fn absent() -> Result {
    const N: usize = 2_000_000;
    let mut rig = Rig::new(variable("MEMORY", 64 << 20))?;
    for round in 0..20 {
        for number in round * N / 20..(round + 1) * N / 20 {
            let key = order(number);
            rig.seen.insert(&key, Events { created: Some(0), ..Events::default() })?;
        }
        rig.freeze()?;
        rig.await_snapshot()?;
        rig.seen.maintain()?;
    }
    while rig.budget.used() > rig.budget.limit() {
        rig.seen.maintain()?;
    }
    println!("{} of {N} entries in memory; {}", rig.seen.in_memory(), rig.budget.report(rig.store.memory()));
    let cpu = cpu_seconds();
    timed("get of an absent key, next in order", N, || {
        for number in N..2 * N {
            assert!(rig.seen.get(&order(number))?.is_none());
        }
        Ok(())
    })?;
    timed("get of an absent key, between others", N, || {
        for number in 0..N {
            let key = Key::new(format_compact!("O-{:09}b", (number * 7919) % N));
            assert!(rig.seen.get(&key)?.is_none());
        }
        Ok(())
    })?;
    println!(
        "{:.1} CPU-s; {}; cache misses (filter, data) {:?}",
        cpu_seconds() - cpu,
        rig.budget.report(rig.store.memory()),
        rig.store.cache_misses()
    );
    timed("get of a stored key that is not in memory", N / 20, || {
        for number in 0..N / 20 {
            assert!(rig.seen.get(&order((number * 7919) % N))?.is_some());
            if number % 100 == 0 {
                rig.seen.maintain()?;
            }
        }
        Ok(())
    })
}

/// Orders that live through four events each, one after the other with 5,000 alive at a time, and a checkpoint per 240,000 events.
fn load() -> Result {
    let events = variable("EVENTS", 2_000_000);
    let per_checkpoint = variable("PER_CHECKPOINT", 240_000);
    let mut rig = Rig::new(variable("MEMORY", 128 << 20))?;
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let mut checkpoints: Vec<SnapshotReady> = Vec::new();
    let mut gathering = false;
    let mut all_sent = true;
    let mut worst_batch = 0;
    for batch in 0..events / 500 {
        let batch_begin = Instant::now();
        for event in batch * 500..(batch + 1) * 500 {
            let stage = event % 4;
            let Some(number) = (event / 4).checked_sub(stage * 1250) else { continue };
            let key = order(number);
            let fresh = rig.seen.get(&key)?.is_none_or(|seen| seen.at(stage).is_none());
            if fresh {
                *rig.seen.upsert(&key, Events::default)?.slot(stage) = Some(event as i64);
                let order = rig.orders.upsert(&key, Order::default)?;
                order.status = stage as u8;
                match stage {
                    0 => order.created = Some(event as i64),
                    1 => order.paid = Some(event as i64),
                    2 => order.shipped = Some(event as i64),
                    _ => order.delivered = Some(event as i64),
                }
            }
        }
        if !all_sent {
            all_sent = rig.encode(1000)?;
        }
        rig.seen.maintain()?;
        rig.orders.maintain()?;
        if !gathering && batch * 500 / per_checkpoint > checkpoints.len() {
            rig.freeze()?;
            (gathering, all_sent) = (true, false);
        }
        if let Ok(event) = rig.events.try_recv() {
            match event {
                WriterEvent::Snapshot(ready) => checkpoints.push(ready),
                WriterEvent::Failed(failure) => return Err(failure.into()),
            }
            gathering = false;
            // The one before is not needed any more.
            let last = checkpoints.len() - 1;
            if let Some(older) = last.checked_sub(1).and_then(|older| checkpoints.get(older)) {
                let _ = std::fs::remove_dir_all(older.snapshot.dir());
            }
        }
        worst_batch = worst_batch.max(batch_begin.elapsed().as_micros());
    }
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let millions = events as f64 / 1e6;
    println!(
        "{events} events: {:.0} events/s, {:.2} CPU-s per million, peak {:.0} MiB, worst batch of 500 {worst_batch} us",
        events as f64 / wall,
        cpu / millions,
        peak_mib()
    );
    println!(
        "{} entries in memory, used {} of {}; in flight {}; {}",
        rig.seen.in_memory() + rig.orders.in_memory(),
        rig.budget.used(),
        rig.budget.limit(),
        rig.writer.in_flight(),
        rig.budget.report(rig.store.memory())
    );
    println!("cache misses (filter, data): {:?}", rig.store.cache_misses());
    for (thread, seconds) in cpu_by_thread() {
        println!("  {thread:<16} {:.2} CPU-s per million", seconds / millions);
    }
    for ready in &checkpoints {
        let t = ready.timings;
        println!(
            "  checkpoint {}: {} entries, write {:.0} ms ({:.0} ns each), link {:.0} ms, {} files, {:.1} MB",
            ready.checkpoint,
            t.entries,
            t.write.as_secs_f64() * 1e3,
            t.write.as_nanos() as f64 / t.entries.max(1) as f64,
            t.link.as_secs_f64() * 1e3,
            ready.snapshot.files().len(),
            ready.snapshot.size() as f64 / 1e6
        );
    }
    Ok(())
}

fn main() -> Result {
    // Cargo adds --bench.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, bench) in [("access", access as fn() -> Result), ("absent", absent), ("load", load)] {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            println!("\n{name}");
            bench()?;
        }
    }
    Ok(())
}
