//! Counts words: one value of state for each word. The counts are those of a plain recount, though the job fails in between.
//!
//! Counts the words of the file that is named, or of a poem. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example word_count
//!     cargo run --release --example word_count -- README.md

use sluicegate::{
    connectors::{FileSink, FileSource},
    stream::{App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, RestartStrategy, Timestamp, ValueState},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Percy Bysshe Shelley, Ozymandias (1818).
const POEM: &str = "\
I met a traveller from an antique land,
Who said \u{2014} \u{201c}Two vast and trunkless legs of stone
Stand in the desert. Near them, on the sand,
Half sunk a shattered visage lies, whose frown,
And wrinkled lip, and sneer of cold command,
Tell that its sculptor well those passions read
Which yet survive, stamped on these lifeless things,
The hand that mocked them, and the heart that fed;
And on the pedestal, these words appear:
My name is Ozymandias, King of Kings;
Look on my Works, ye Mighty, and despair!
Nothing beside remains. Round the decay
Of that colossal Wreck, boundless and bare
The lone and level sands stretch far away.\u{201d}
";

/// Counts how often its word came.
struct Count(ValueState<String, u64>);

impl KeyedProcess<String, String> for Count {
    type Out = (String, u64);

    fn process(&mut self, word: &Key<String>, _: Timestamp, _: String, out: &mut Emit<'_, (String, u64)>) -> Result<(), Halt> {
        let count = self.0.update(
            word,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )?;
        out.push((word.value.clone(), count))
    }
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Counts the words of `input` with everything in `folder`, and returns the last count of each word.
fn run(input: &Path, folder: &Path) -> Result<BTreeMap<String, u64>, Failure> {
    let (app, output) = (App::new(), folder.join("counts"));
    app.read("lines", FileSource::lines(input).rate(500.0))
        .flat_map(|line, out| words(&line).try_for_each(|word| out.push(word)))
        .fail_once_at("count", 60)
        .key_by(String::clone)
        .process("count", |declare| {
            let count = declare.value::<String, u64>("count");
            move |context: &mut OperatorContext<'_, '_>| Ok(Count(context.state(&count)?))
        })
        .write_json("counts", FileSink::new(&output).suffix(".jsonl"));
    Execution::new("word-count", folder)
        .parallelism(2)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_millis(20) })
        .run(app)?;
    let mut counts = BTreeMap::new();
    for line in FileSink::read(&output)? {
        let (word, count): (String, u64) = serde_json::from_str(&line).map_err(|why| Failure::fatal(format!("{line}: {why}")))?;
        // Counts of a word come in order, and each of them once.
        let before = counts.insert(word, count).unwrap_or(0);
        if count != before + 1 {
            return Err(Failure::fatal(format!("{line} comes after {before}")));
        }
    }
    Ok(counts)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let poem = folder.path().join("poem.txt");
    fs::write(&poem, POEM)?;
    let input = std::env::args_os().nth(1).map_or(poem, PathBuf::from);
    let mut counts: Vec<_> = run(&input, folder.path()).map_err(|failure| failure.message)?.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (word, count) in counts.iter().take(10) {
        println!("{count:6} {word}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_a_plain_recount() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("poem.txt");
        fs::write(&input, POEM).unwrap();
        let mut recount = BTreeMap::new();
        POEM.lines().flat_map(words).for_each(|word| *recount.entry(word).or_insert(0) += 1);
        assert_eq!(recount["and"], 8);
        assert_eq!(run(&input, folder.path()).unwrap(), recount);
    }
}
