//! What checkpoints of a large state cost, without Kafka: state tables, the writer, and a checkpoint storage in a folder, with
//! upload, manifest, mark, clearing away and restore, as the engine drives them. Prints Markdown. Run alone on the machine:
//!
//! ```text
//! cargo bench --profile release --bench checkpoints             # all
//! cargo bench --profile release --bench checkpoints -- sizes    # one: sizes, stall, restore
//! KEYS=100000,1000000 CHECKPOINTS=20 cargo bench --profile release --bench checkpoints -- sizes
//! ```
//!
//! All files lie below the system's folder for temporary files (`TMPDIR`): about three times the state.
#![allow(missing_docs)]

use compact_str::{CompactString, format_compact};
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use serde::{Deserialize, Serialize};
use sluicegate::{
    checkpoint::{Collector, Location, Manifest, Reason, Retention, Storage, Uploaded},
    protocol::{CheckpointId, Failure, JobName, ManifestRef},
    state::*,
};
use std::{
    error::Error,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Records of a batch, and entries encoded between two batches: as in the engine.
const BATCH: usize = 512;
/// Keys that are brought in with one checkpoint while a state is filled.
const FILL: usize = 500_000;
/// Checkpoints before those that count: the first ones after a filling find RocksDB at work.
const WARM_UP: usize = 10;
const MINUTES: Duration = Duration::from_secs(600);

/// As the order job tracks an order.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Order {
    user: CompactString,
    status: u8,
    created: Option<i64>,
    paid: Option<i64>,
    shipped: Option<i64>,
    delivered: Option<i64>,
}
impl StateValue for Order {}

type Orders = Table<CompactString, Order>;

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn order(number: usize) -> Key<CompactString> {
    Key::new(format_compact!("O-{number:09}"))
}

/// A checkpoint that is durable.
struct Made {
    trigger: Instant,
    durable: Instant,
    /// Sorting, writing and linking.
    written: WriterTimings,
    upload: Duration,
    manifest: Duration,
    new_bytes: u64,
    description: Manifest,
}

impl Made {
    /// One line for who waits, and to find out which one took long, and why.
    fn tell(&self) {
        let WriterTimings { gather, write, link, .. } = self.written;
        eprintln!(
            "checkpoint {}: {:.1?}; gather {gather:.1?}, write {write:.1?}, link {link:.1?}, upload {:.1?} of {} bytes, manifest {:.1?}",
            self.description.checkpoint,
            self.durable - self.trigger,
            self.upload,
            self.new_bytes,
            self.manifest
        );
    }
}

/// The thread that makes checkpoints durable, as the engine has one.
struct Keeper {
    storage: Storage,
    uploaded: Uploaded,
    collector: Collector,
    base: Option<ManifestRef>,
}

impl Keeper {
    fn run(mut self, events: &Receiver<WriterEvent>, made: &Sender<std::result::Result<Made, Failure>>) {
        for event in events {
            let result = match event {
                WriterEvent::Snapshot(ready) => self.keep(ready, made),
                WriterEvent::Failed(failure) => Err(failure),
            };
            if let Err(failure) = result {
                let _ = made.send(Err(failure));
            }
        }
    }

    fn keep(
        &mut self,
        ready: SnapshotReady,
        made: &Sender<std::result::Result<Made, Failure>>,
    ) -> std::result::Result<(), Failure> {
        let names: Vec<String> = ready.snapshot.files().iter().map(|file| file.name.clone()).collect();
        let report = self.storage.upload(ready.checkpoint, ready.snapshot.dir(), &names, &mut self.uploaded, MINUTES)?;
        drop(ready.snapshot);
        let begin = Instant::now();
        let mut manifest = Manifest::new(self.storage.job().clone(), ready.checkpoint, self.base, Reason::Interval);
        (manifest.files, manifest.new_bytes, manifest.total_bytes) = (report.files, report.new_bytes, report.total_bytes);
        let reference = self.storage.put_manifest(&manifest)?;
        let durable = Instant::now();
        self.base = Some(reference);
        // Kafka's commit would come here; what follows holds nobody up.
        self.storage.put_marker(reference)?;
        let collected = self.collector.confirmed(&manifest);
        assert_eq!(collected.postponed, Vec::<String>::new());
        let one = Made {
            trigger: durable,
            durable,
            written: ready.timings,
            upload: report.took,
            manifest: durable - begin,
            new_bytes: report.new_bytes,
            description: manifest,
        };
        let _ = made.send(Ok(one));
        Ok(())
    }
}

/// A task with one table, the writer, and the thread that keeps checkpoints.
struct Rig {
    orders: Orders,
    made: Receiver<std::result::Result<Made, Failure>>,
    next: CheckpointId,
    triggered: Instant,
    storage: Storage,
    job: JobName,
    states: [StateDescriptor; 1],
    settings: Settings,
    _writer: Writer,
    _runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new(memory: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let job: JobName = "bench".parse()?;
        let settings = Settings::new(folder.path().join("state"), memory);
        let states = [StateDescriptor::value::<CompactString>("track", "order")];
        let store = Store::create(Workspace::create(&settings.dir, &job)?, &states, &settings)?;
        let groups = KeyGroups::default();
        let options = TableOptions { groups, owned: groups.range(0, 1), starts_empty: true };
        let mut plan = Plan::new(store.clone());
        let port = plan.port(store.state("track", "order")?);
        let orders = Table::new(store, port, &Budget::of(&settings), options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let storage = Storage::open(&Location::folder(folder.path().join("checkpoints"))?, &job, runtime.handle().clone())?;
        let retention = Retention { retained: std::num::NonZeroU32::MIN, grace: Duration::ZERO };
        let collector = Collector::new(storage.clone(), retention);
        let keeper = Keeper { storage: storage.clone(), uploaded: Uploaded::nothing(), collector, base: None };
        let (report, events) = crossbeam_channel::unbounded();
        let (done, made) = crossbeam_channel::unbounded();
        let writer = plan.start(move |event| drop(report.send(event)))?;
        std::thread::spawn(move || keeper.run(&events, &done));
        let (next, triggered) = (CheckpointId(1), Instant::now());
        Ok(Self { orders, made, next, triggered, storage, job, states, settings, _writer: writer, _runtime: runtime, folder })
    }

    /// New orders with these numbers, in pieces with a checkpoint each.
    fn fill(&mut self, numbers: Range<usize>) -> Result<Made> {
        let mut last = None;
        for from in numbers.clone().step_by(FILL) {
            let to = numbers.end.min(from + FILL);
            for begin in (from..to).step_by(BATCH) {
                for number in begin..to.min(begin + BATCH) {
                    let user = format_compact!("U-{:05}", number.wrapping_mul(7919) % 50_000);
                    let at = 1_767_225_600_000 + number as i64 * 20;
                    self.orders.insert(&order(number), Order { user, created: Some(at), ..Order::default() })?;
                }
                self.orders.maintain()?;
            }
            self.freeze()?;
            last = Some(self.wait()?);
        }
        Ok(last.ok_or("no keys")?)
    }

    /// Another event of each of these orders. `pause` is told how long a batch kept the task from the next one beyond its records.
    fn change(&mut self, numbers: impl Iterator<Item = usize>, mut pause: impl FnMut(Duration)) -> Result {
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            for number in numbers.by_ref().take(BATCH) {
                let order = self.orders.upsert(&order(number), Order::default)?;
                order.status = order.status.wrapping_add(1);
                order.paid = Some(order.created.unwrap_or_default() + 1000 * i64::from(order.status));
            }
            let begin = Instant::now();
            self.orders.maintain()?;
            self.orders.encode_slice(BATCH)?;
            pause(begin.elapsed());
        }
        Ok(())
    }

    /// A barrier; gives the time for which it kept the task from work.
    fn freeze(&mut self) -> Result<Duration> {
        self.triggered = Instant::now();
        self.orders.freeze(self.next)?;
        self.next = self.next.next();
        Ok(self.triggered.elapsed())
    }

    /// The checkpoint, if it is durable.
    fn poll(&mut self) -> Result<Option<Made>> {
        match self.made.try_recv() {
            Ok(made) => Ok(Some(Made { trigger: self.triggered, ..made? })),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err("the thread that keeps checkpoints has ended".into()),
        }
    }

    /// Waits until the checkpoint is durable, with nothing else to do.
    fn wait(&mut self) -> Result<Made> {
        while !self.orders.encode_slice(BATCH)? {
            std::thread::yield_now();
        }
        loop {
            if let Some(made) = self.poll()? {
                return Ok(made);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// The one in the middle, or at another place between 0 and 1.
fn at<T: Copy + PartialOrd>(values: impl IntoIterator<Item = T>, place: f64) -> Option<T> {
    let mut sorted: Vec<T> = values.into_iter().collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    sorted.get(((sorted.len() as f64 * place).ceil() as usize).saturating_sub(1)).copied()
}

fn ms(time: Option<Duration>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < Duration::from_millis(1) => format!("{:.3} ms", time.as_secs_f64() * 1e3),
        Some(time) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}

fn mb(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6))
}

fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn head(cells: &[&str]) {
    println!("| {} |\n| ---: {}|", cells.join(" | "), "| ---: ".repeat(cells.len() - 1));
}

/// Checkpoints of a fixed number of changed keys over states of several sizes.
fn sizes() -> Result {
    let (changed, checkpoints) = (variable("CHANGED", 50_000), variable("CHECKPOINTS", 60));
    let (interval, memory) = (Duration::from_millis(variable("INTERVAL_MS", 1000) as u64), variable("MEMORY", 256 << 20));
    let keys = std::env::var("KEYS").unwrap_or_else(|_| "100000,1000000,10000000".to_owned());
    println!(
        "{checkpoints} checkpoints of {changed} changed keys, spread over all keys, one every {interval:?}; memory for state {} MiB.\n",
        memory >> 20
    );
    head(&[
        "keys",
        "state",
        "trigger to durable: median",
        "of it writing / upload / manifest",
        "new bytes: median",
        "all",
        "longest",
        "its bytes",
        "with merged files",
        "barrier: longest",
    ]);
    let mut medians = Vec::new();
    for keys in keys.split(',') {
        let keys: usize = keys.trim().parse()?;
        let mut rig = Rig::new(memory)?;
        rig.fill(0..keys)?;
        let (mut seen, mut stalls, mut place) = (Vec::new(), Vec::new(), 0_usize);
        for round in 0..WARM_UP + checkpoints {
            let begin = Instant::now();
            // A large prime: no key again before all have had their turn.
            let numbers = (place..place + changed).map(|n| (n as u128 * 2_654_435_761 % keys as u128) as usize);
            place += changed;
            rig.change(numbers, |_| ())?;
            // What was changed is there, the barrier comes when it is due.
            std::thread::sleep(interval.saturating_sub(begin.elapsed()));
            let stall = rig.freeze()?;
            let made = rig.wait()?;
            made.tell();
            if round >= WARM_UP {
                stalls.push(stall);
                seen.push(made);
            }
        }
        let took = |made: &Made| made.durable - made.trigger;
        let (duration, bytes) = (at(seen.iter().map(took), 0.5), at(seen.iter().map(|made| made.new_bytes), 0.5));
        let longest = seen.iter().max_by_key(|made| took(made)).ok_or("no checkpoints")?;
        let merged = seen.iter().filter(|made| Some(made.new_bytes / 2) > bytes).count();
        let part = |of: fn(&Made) -> Duration| ms(at(seen.iter().map(of), 0.5));
        row(&[
            keys.to_string(),
            mb(Some(longest.description.total_bytes)),
            ms(duration),
            [part(|made| made.written.write + made.written.link), part(|made| made.upload), part(|made| made.manifest)]
                .join(" / "),
            mb(bytes),
            mb(Some(seen.iter().map(|made| made.new_bytes).sum())),
            ms(Some(took(longest))),
            mb(Some(longest.new_bytes)),
            format!("{merged} of {}", seen.len()),
            ms(at(stalls, 1.0)),
        ]);
        medians.extend(duration.zip(bytes));
    }
    let of = |value: fn(&(Duration, u64)) -> f64| {
        let (most, least) = (at(medians.iter().map(value), 1.0), at(medians.iter().map(value), 0.0));
        most.zip(least).map_or(0.0, |(most, least)| most / least)
    };
    println!(
        "\nLargest to smallest median: duration {:.2}, bytes {:.2}.",
        of(|(duration, _)| duration.as_secs_f64()),
        of(|(_, bytes)| *bytes as f64)
    );
    Ok(())
}

/// Barriers with a million changed keys, while the task goes on and checkpoints are uploaded beside it.
fn stall() -> Result {
    let (changed, barriers) = (variable("CHANGED", 1_000_000), variable("BARRIERS", 100));
    let memory = variable("MEMORY", 1 << 30);
    let mut rig = Rig::new(memory)?;
    rig.fill(0..changed)?;
    let (mut stalls, mut pauses, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
    let keys: Vec<usize> = (0..changed).map(|n| (n as u128 * 2_654_435_761 % changed as u128) as usize).collect();
    for _ in 0..barriers {
        rig.change(keys.iter().copied(), |_| ())?;
        stalls.push(rig.freeze()?);
        // The work goes on, with some of the orders again and again, until the checkpoint is durable.
        let made = loop {
            rig.change(keys.iter().copied().take(BATCH * 8), |pause| pauses.push(pause))?;
            if let Some(made) = rig.poll()? {
                break made;
            }
        };
        made.tell();
        checkpoints.push(made.durable - made.trigger);
    }
    println!("{barriers} barriers with {changed} changed keys, memory for state {} MiB.\n", memory >> 20);
    head(&["", "median", "p99", "longest"]);
    let line = |name: &str, times: &[Duration]| {
        let place = |place| ms(at(times.iter().copied(), place));
        row(&[name.to_owned(), place(0.5), place(0.99), place(1.0)]);
    };
    line("barrier", &stalls);
    line("between two batches while what is frozen is encoded", &pauses);
    line("trigger to durable", &checkpoints);
    Ok(())
}

/// A gibibyte of state, restored from a storage on the same disk, with nothing of it in memory.
fn restore() -> Result {
    let (wanted, rounds) = (variable("BYTES", 1 << 30) as u64, variable("ROUNDS", 5));
    let mut rig = Rig::new(variable("MEMORY", 256 << 20))?;
    let mut keys = 0;
    let manifest = loop {
        let made = rig.fill(keys..keys + FILL)?;
        keys += FILL;
        if made.description.total_bytes >= wanted {
            break made.description;
        }
    };
    let files: Vec<PathBuf> = manifest.files.iter().map(|file| rig.file(&file.object_name())).collect();
    let (mut disk, mut plain, mut cold, mut opened, mut warm) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        disk.push(per_second(manifest.total_bytes, direct(&files)?));
        forget(&files)?;
        plain.push(per_second(manifest.total_bytes, read(&files)?));
        forget(&files)?;
        let (took, open) = rig.restored(&manifest)?;
        cold.push(per_second(manifest.total_bytes, took));
        opened.push(open);
        warm.push(rig.restored(&manifest)?.0);
    }
    let median = |values: &[f64]| at(values.iter().copied(), 0.5).unwrap_or_default();
    println!("{} in {} files, {rounds} rounds, medians.\n", mb(Some(manifest.total_bytes)), files.len());
    head(&["", "MB/s", "of the disk's speed"]);
    let whole = median(&disk).max(median(&plain));
    for (name, speeds) in [("disk, past the page cache", &disk), ("disk, read file by file", &plain), ("restore", &cold)] {
        row(&[name.to_owned(), format!("{:.0}", median(speeds)), format!("{:.0} %", 100.0 * median(speeds) / whole)]);
    }
    println!("\nRestored from the page cache in {}, opened after that in {}.", ms(at(warm, 0.5)), ms(at(opened, 0.5)));
    Ok(())
}

fn per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9)
}

impl Rig {
    /// Where an object of the storage lies.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("checkpoints").join(self.job.as_str()).join("files").join(name)
    }

    /// Restores as a start does, every byte verified; gives the time for that, and for opening the store over it.
    fn restored(&self, manifest: &Manifest) -> Result<(Duration, Duration)> {
        let workspace = Workspace::create(&self.settings.dir, &self.job)?;
        let report = self.storage.restore(manifest, &workspace.db_dir(), MINUTES, &|_| ())?;
        let begin = Instant::now();
        drop(Store::open_restored(workspace, &self.states, &self.settings, Unclaimed::Refuse)?);
        Ok((report.took, begin.elapsed()))
    }
}

/// Drops files from the page cache: what `dd` is documented to do with `nocache` and a count of zero.
fn forget(files: &[PathBuf]) -> Result {
    files.iter().try_for_each(|file| dd(file, &["iflag=nocache", "count=0"]))
}

/// Reads files with large requests past the page cache.
fn direct(files: &[PathBuf]) -> Result<Duration> {
    let begin = Instant::now();
    files.iter().try_for_each(|file| dd(file, &["iflag=direct", "bs=8M"]))?;
    Ok(begin.elapsed())
}

fn dd(file: &Path, how: &[&str]) -> Result {
    let mut command = Command::new("dd");
    command.arg(format!("if={}", file.display())).arg("of=/dev/null").args(how).stderr(Stdio::null());
    match command.status()? {
        done if done.success() => Ok(()),
        failed => Err(format!("dd {how:?} of {} ended with {failed}", file.display()).into()),
    }
}

/// Reads files one after the other.
fn read(files: &[PathBuf]) -> Result<Duration> {
    let (begin, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    for file in files {
        let mut file = std::fs::File::open(file)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(begin.elapsed())
}

fn main() -> Result {
    // Cargo adds --bench.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, bench) in [("sizes", sizes as fn() -> Result), ("stall", stall), ("restore", restore)] {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            println!("\n## {name}\n");
            bench()?;
        }
    }
    Ok(())
}
