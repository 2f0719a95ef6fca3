//! Gathers records into batches of 100 in operator list state: what waits in the buffer survives a failure, and no record is lost or
//! comes twice.
//!
//! The buffer belongs to the task, whatever the keys of its records. At the end of the input what is left is given out. Nothing but a
//! temporary folder is needed:
//!
//!     cargo run --release --example buffering_sink

use sluicegate::{
    connectors::{FileSink, Generator},
    stream::{
        App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, OperatorList, Redistribution, RestartStrategy,
        Timestamp,
    },
};
use std::{path::Path, time::Duration};

const RECORDS: u64 = 1_050;
const BATCH: usize = 100;

struct Buffer(OperatorList<u64>);

impl KeyedProcess<u64, u64> for Buffer {
    type Out = Vec<u64>;

    fn process(&mut self, _: &Key<u64>, _: Timestamp, number: u64, out: &mut Emit<'_, Vec<u64>>) -> Result<(), Halt> {
        self.0.add(number);
        if self.0.read(<[u64]>::len) < BATCH { Ok(()) } else { out.push(self.0.replace(Vec::new())) }
    }

    fn on_end(&mut self, out: &mut Emit<'_, Vec<u64>>) -> Result<(), Halt> {
        let left = self.0.replace(Vec::new());
        if left.is_empty() { Ok(()) } else { out.push(left) }
    }
}

/// Runs the job in `folder`, and returns its batches.
fn run(folder: &Path) -> Result<Vec<Vec<u64>>, Failure> {
    let (app, output) = (App::new(), folder.join("batches"));
    app.read("numbers", Generator::new(1, |_, number| number).count(RECORDS).rate(5_000.0))
        .fail_once_at("buffer", 555)
        .key_by(|number| number % 10)
        .process("buffer", |declare| {
            let waiting = declare.operator_list::<u64>("buffered-elements", Redistribution::Split);
            move |context: &mut OperatorContext<'_, '_>| Ok(Buffer(context.state(&waiting)?))
        })
        .write_json("batches", FileSink::new(&output).suffix(".jsonl"));
    Execution::new("buffering-sink", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) })
        .run(app)?;
    let batches = FileSink::read(&output)?.into_iter();
    batches.map(|line| serde_json::from_str(&line).map_err(|why| Failure::fatal(format!("{line}: {why}")))).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for batch in run(folder.path()).map_err(|failure| failure.message)? {
        let (first, last) = (batch.iter().min(), batch.iter().max());
        println!("a batch of {}, from {} to {}", batch.len(), first.copied().unwrap_or(0), last.copied().unwrap_or(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_in_one_batch_and_all_batches_but_the_last_are_full() {
        let folder = tempfile::tempdir().unwrap();
        let batches = run(folder.path()).unwrap();
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [vec![BATCH; 10], vec![50]].concat());
        let mut numbers: Vec<u64> = batches.into_iter().flatten().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..RECORDS).collect::<Vec<_>>());
    }
}
