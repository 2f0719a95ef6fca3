//! `make fuzz`: so many hostile inputs, each of which follows from a seed and its number, on a plain toolchain.

use clap::{Parser, ValueEnum};
use sluicegate_fuzz::{
    check::{self, Plans},
    format::{DecodeRules, ErrorClass},
    memory::{Counting, most},
    mutation,
    random::Random,
};
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Heap that a decoder may take for an input: so much for each byte of it, and so much besides.
const PER_BYTE: usize = 32;
const BESIDES: usize = 64 << 10;
/// Time that it may take, on a machine that has other things to do.
const SLOWEST: Duration = Duration::from_secs(20);

/// Decodes hostile inputs, and ends with an error at the first that breaks a promise.
#[derive(Parser)]
struct Arguments {
    /// How many inputs.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Same seed, same inputs.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Only the input of this number, which is written to standard output as well.
    #[arg(long)]
    only: Option<u64>,
    /// Records for this one.
    #[arg(long, value_enum, default_value_t = Decoder::Both)]
    decoder: Decoder,
    /// Threads.
    #[arg(long, default_value_t = thread::available_parallelism().map_or(1, |n| n.get() as u64))]
    threads: u64,
}

/// Which records there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Decoder {
    /// JSON.
    Json,
    /// Avro.
    Avro,
    /// JSON and Avro in turn.
    Both,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    inputs: u64,
    bytes: u64,
    longest: usize,
    /// Per class of error; accepted ones under none.
    classes: BTreeMap<Option<ErrorClass>, u64>,
    /// The input that took most heap for each of its bytes, of those beyond 4 KiB.
    greediest: (f64, u64),
    /// The one that took longest.
    slowest: (Duration, u64),
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.bytes += other.bytes;
        self.longest = self.longest.max(other.longest);
        for (class, count) in other.classes {
            *self.classes.entry(class).or_default() += count;
        }
        if other.greediest.0 > self.greediest.0 {
            self.greediest = other.greediest;
        }
        self.slowest = self.slowest.max(other.slowest);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(number) = arguments.only {
        let input = input(&arguments, number);
        // Nothing can be done for a reader that has gone away.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), input.bytes());
        return match judge(&Plans::of(&mutation::WRITERS), &input, number, &mut Seen::default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => failed(&arguments, number, &why),
        };
    }
    let plans = Plans::of(&mutation::WRITERS);
    let since = Instant::now();
    let share = |index: u64| (index..arguments.inputs).step_by(usize::try_from(arguments.threads.max(1)).unwrap_or(1));
    let results: Vec<Result<Seen, (u64, String)>> = thread::scope(|scope| {
        let run = |index| {
            let mut seen = Seen::default();
            for number in share(index) {
                judge(&plans, &input(&arguments, number), number, &mut seen).map_err(|why| (number, why))?;
            }
            Ok(seen)
        };
        let threads: Vec<_> = (0..arguments.threads.max(1)).map(|index| scope.spawn(move || run(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err((0, "a thread died".to_owned())))).collect()
    });
    let mut seen = Seen::default();
    for result in results {
        match result {
            Ok(part) => seen.add(part),
            Err((number, why)) => return failed(&arguments, number, &why),
        }
    }
    report(&arguments, &seen, since.elapsed());
    ExitCode::SUCCESS
}

/// One record.
enum Input {
    Json(Vec<u8>),
    /// With which of the writers' schemas.
    Avro(usize, Vec<u8>),
}

impl Input {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(bytes) | Self::Avro(_, bytes) => bytes,
        }
    }
}

fn input(arguments: &Arguments, number: u64) -> Input {
    let mut random = Random::new(arguments.seed, number);
    let mut draw = |end| random.below(end);
    let json = match arguments.decoder {
        Decoder::Json => true,
        Decoder::Avro => false,
        Decoder::Both => number.is_multiple_of(2),
    };
    if json {
        return Input::Json(mutation::json(&mut draw));
    }
    let (writer, bytes) = mutation::avro(&mut draw);
    Input::Avro(writer, bytes)
}

fn judge(plans: &Plans, record: &Input, number: u64, seen: &mut Seen) -> Result<(), String> {
    let input = record.bytes();
    // The most that the settings allow, and their default.
    let max_record_bytes = if number % 4 < 2 { 64 << 20 } else { DecodeRules::default().max_record_bytes };
    let rules = DecodeRules { max_record_bytes, ..DecodeRules::default() };
    let since = Instant::now();
    let check = || match record {
        Input::Json(bytes) => check::json(bytes, &rules),
        Input::Avro(writer, bytes) => plans.avro(*writer, bytes, &rules),
    };
    let (checked, heap) = most(|| catch_unwind(AssertUnwindSafe(check)));
    let took = since.elapsed();
    let class = checked.map_err(|_| "a promise is broken, see above".to_owned())?;
    if heap > PER_BYTE * input.len() + BESIDES {
        return Err(format!("{heap} bytes of heap for {} bytes of input", input.len()));
    }
    if took > SLOWEST {
        return Err(format!("{took:?} for {} bytes of input", input.len()));
    }
    seen.inputs += 1;
    seen.bytes += input.len() as u64;
    seen.longest = seen.longest.max(input.len());
    *seen.classes.entry(class).or_default() += 1;
    seen.slowest = seen.slowest.max((took, number));
    let ratio = heap as f64 / input.len().max(1) as f64;
    if input.len() > 4096 && ratio > seen.greediest.0 {
        seen.greediest = (ratio, number);
    }
    Ok(())
}

fn failed(arguments: &Arguments, number: u64, why: &str) -> ExitCode {
    let file = std::env::temp_dir().join(format!("sluicegate-fuzz-{}-{number}", arguments.seed));
    let kept = match fs::write(&file, input(arguments, number).bytes()) {
        Ok(()) => format!("it is in {}", file.display()),
        Err(error) => format!("it could not be written to {}: {error}", file.display()),
    };
    let decoder = arguments.decoder.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    eprintln!(
        "fuzz: input {number} of seed {}: {why}; {kept} (SEED={} DECODER={decoder} ONLY={number} repeats it)",
        arguments.seed, arguments.seed
    );
    ExitCode::FAILURE
}

fn report(arguments: &Arguments, seen: &Seen, took: Duration) {
    let what = match arguments.decoder {
        Decoder::Json => "all JSON",
        Decoder::Avro => "all Avro",
        Decoder::Both => "half JSON, half Avro",
    };
    println!(
        "{} records of seed {}, {what} (0 to {} bytes, {} MB in all) in {:.1} s: no panic, the two readers of JSON agree, each is accepted or refused with a reason",
        seen.inputs,
        arguments.seed,
        seen.longest,
        seen.bytes / 1_000_000,
        took.as_secs_f64()
    );
    println!(
        "most heap: {:.1} bytes for each byte of input (input {}); longest: {:.1} ms (input {})",
        seen.greediest.0,
        seen.greediest.1,
        seen.slowest.0.as_secs_f64() * 1e3,
        seen.slowest.1
    );
    for (class, count) in &seen.classes {
        println!("{:>12}  {}", count, class.map_or("accepted", ErrorClass::as_str));
    }
}
