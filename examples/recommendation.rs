//! Recommends the best seller of the category that a user looked at last: value state per user.
//!
//! The job fails in between; the recommendations are those of a plain recomputation. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example recommendation

use sluicegate::{
    connectors::{Collected, Generator, Random},
    stream::{App, Emit, Execution, Failure, Halt, Key, KeyedProcess, OperatorContext, RestartStrategy, Timestamp, ValueState},
};
use std::{path::Path, time::Duration};

const SEED: u64 = 5;
const EVENTS: u64 = 1_000;
const USERS: u64 = 50;
/// Categories, each with its best seller.
const CATEGORIES: [(&str, &str); 4] =
    [("books", "The Rust Book"), ("garden", "a watering can"), ("music", "a tuning fork"), ("toys", "a wooden train")];

/// A user looks at a category, or comes to the front page, where there is something to recommend.
#[derive(Clone)]
struct Visit {
    user: u64,
    category: Option<String>,
}

fn visit(random: &mut Random, _: u64) -> Visit {
    let user = random.below(USERS);
    let category = random.choose(&CATEGORIES).filter(|_| random.below(3) > 0);
    Visit { user, category: category.map(|(name, _)| (*name).to_owned()) }
}

fn best_seller(category: &str) -> &'static str {
    CATEGORIES.iter().find(|(name, _)| *name == category).map_or("nothing", |(_, product)| product)
}

struct Recommend(ValueState<u64, String>);

impl KeyedProcess<u64, Visit> for Recommend {
    type Out = String;

    fn process(&mut self, user: &Key<u64>, _: Timestamp, visit: Visit, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        if let Some(category) = visit.category {
            return self.0.put(user, category);
        }
        match self.0.get(user)? {
            Some(category) => out.push(format!("user {}: {}", user.value, best_seller(&category))),
            None => Ok(()),
        }
    }
}

/// Runs the job in `folder`, and returns its recommendations.
fn run(folder: &Path) -> Result<Vec<String>, Failure> {
    let (app, output) = (App::new(), Collected::new());
    app.read("visits", Generator::new(SEED, visit).count(EVENTS).rate(5_000.0))
        .fail_once_at("recommend", 800)
        .key_by(|visit| visit.user)
        .process("recommend", |declare| {
            let last = declare.value::<u64, String>("last-category");
            move |context: &mut OperatorContext<'_, '_>| Ok(Recommend(context.state(&last)?))
        })
        .write_lines("recommendations", output.clone());
    Execution::new("recommendation", folder)
        .checkpoint_every(Duration::from_millis(20))
        .restart(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) })
        .run(app)?;
    Ok(output.lines())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let lines = run(folder.path()).map_err(|failure| failure.message)?;
    println!("{EVENTS} visits, {} recommendations; the last ten:", lines.len());
    lines.iter().rev().take(10).for_each(|line| println!("{line}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn recommendations_are_those_of_a_plain_recomputation() {
        let folder = tempfile::tempdir().unwrap();
        let mut last: BTreeMap<u64, String> = BTreeMap::new();
        let mut expected = Vec::new();
        for number in 0..EVENTS {
            let Visit { user, category } = visit(&mut Random::new(SEED, number), number);
            match (category, last.get(&user)) {
                (Some(category), _) => drop(last.insert(user, category)),
                (None, Some(category)) => expected.push(format!("user {user}: {}", best_seller(category))),
                (None, None) => {}
            }
        }
        assert!((200..500).contains(&expected.len()), "{}", expected.len());
        assert_eq!(run(folder.path()).unwrap(), expected);
    }
}
