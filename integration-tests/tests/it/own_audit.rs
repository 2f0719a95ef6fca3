//! A job of a user's own has the whole command line: `examples/account_balances.rs` brings an audit and keeps dead letters. The audit says
//! yes whatever the job went through, and no as soon as an output is not what it has to be.

use crate::harness::{END, LIMIT, job, says, within};
use integration_tests::{
    Context, Result, ensure,
    job::{Job, example},
    process::{self, Finished},
    service::Service,
};
use serde_json::Value;
use std::{collections::BTreeSet, path::PathBuf, thread, time::Duration};

/// Payments that a load sends, without the bad ones.
const PAYMENTS: u64 = 3_000;
/// Records among them that are none.
const BAD: u64 = 40;

struct Own {
    job: Job,
    program: PathBuf,
}

impl Own {
    fn new() -> Result<Self> {
        let mut job = job()?;
        job.set_variable("BALANCES_PREFIX", format!("{}.", job.name()));
        Ok(Self { job, program: example("account_balances")? })
    }

    fn topic(&self, name: &str) -> String {
        self.job.output(name)
    }

    /// Payments of a few accounts, and what is no payment.
    fn pay(&self) -> Result<()> {
        let payments: Vec<(String, String)> = (0..PAYMENTS)
            .map(|number| {
                let (account, cents) = (format!("A-{}", number * number % 23), 100 - i64::try_from(number % 301).unwrap_or(0));
                let payment = format!(r#"{{"account":"{account}","cents":{cents}}}"#);
                (account, payment)
            })
            .collect();
        let bad = (0..BAD).map(|number| {
            let text = if number % 2 == 0 { format!("no payment {number}") } else { r#"{"account":"","cents":1}"#.to_owned() };
            (format!("B-{number}"), text)
        });
        let all: Vec<(String, String)> = payments.into_iter().chain(bad).collect();
        let records = all.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
        self.job.cluster()?.send(&self.topic("payments"), records)
    }

    fn run(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(&mut self.job.own_command(&self.program, arguments)?, END)
    }

    fn succeed(&self, arguments: &[&str]) -> Result<String> {
        process::output(&mut self.job.own_command(&self.program, arguments)?, END)
    }

    fn start(&self, environment: &[(&str, &str)]) -> Result<Service> {
        self.job.serve(self.job.own_command(&self.program, ["run"])?, environment)
    }

    fn killed_at(&self, point: &str) -> Result<()> {
        self.start(&[("SLUICEGATE_FAILPOINTS", point)])?.wait_killed(END)
    }

    fn catch_up(&self) -> Result<()> {
        self.succeed(&["run", "--until-caught-up", "--set", "http.listen=off"]).map(drop)
    }

    /// What `audit --json` says; it must end with `code`.
    fn audit(&self, code: i32) -> Result<Value> {
        let finished = self.run(&["audit", "--json"])?;
        let told = || format!("{}: {}{}", finished.status, finished.stdout, finished.stderr);
        ensure!(finished.status.code() == Some(code), "wanted was {code}, it ended with {}", told());
        serde_json::from_str(&finished.stdout).with_context(told)
    }

    /// Dead letters that the next replay would send, and those that were sent before.
    fn replay(&self, arguments: &[&str]) -> Result<(u64, u64)> {
        let said: Value = serde_json::from_str(&self.succeed(&[&["dlq", "replay", "--json"], arguments].concat())?)?;
        Ok((said["replayed"].as_u64().context("replayed")?, said["replayedBefore"].as_u64().context("replayedBefore")?))
    }
}

#[test]
fn says_yes_though_the_job_was_killed_and_no_as_soon_as_an_output_has_a_record_too_many() {
    within(LIMIT, || {
        let own = Own::new()?;
        own.succeed(&["topics", "create", "--partitions", "4"])?;
        // Before anything is committed there is nothing to say
        let nothing = own.run(&["audit"])?;
        assert_eq!(nothing.status.code(), Some(1), "{}", nothing.stderr);
        says(&nothing.stderr, &["has committed nothing", &own.job.group()])?;
        // When the job dies at the two steps around the commit, and once at any moment, while payments come
        own.pay()?;
        own.killed_at("after-manifest=kill@2")?;
        own.killed_at("after-commit=kill@1")?;
        own.pay()?;
        let mut service = own.start(&[])?;
        service.wait_ready()?;
        service.wait_checkpoints(1)?;
        thread::sleep(Duration::from_millis(83));
        service.kill()?;
        own.pay()?;
        own.catch_up()?;
        // Then each payment has its effect once, by the user's own reckoning
        let clean = own.audit(0)?;
        assert_eq!(clean["records_in"], 3 * (PAYMENTS + BAD));
        for (index, (topic, records)) in [("balances", 3 * PAYMENTS), ("payments-dead", 3 * BAD)].into_iter().enumerate() {
            let output = &clean["outputs"][index];
            assert_eq!(output["topic"], own.topic(topic));
            assert_eq!((&output["expected"], &output["found"]), (&records.into(), &records.into()), "{clean}");
        }
        let table = own.run(&["audit"])?;
        assert_eq!(table.status.code(), Some(0), "{}", table.stdout);
        says(&table.stdout, &["Exactly once: all 2 outputs are what the 9,120 committed input records give"])?;
        // And a balance that the job has not given out is found, with its key
        own.job.cluster()?.send(&own.topic("balances"), [("A-4", &br#"{"account":"A-4","payments":1,"cents":0}"#[..])])?;
        let violated = own.audit(5)?;
        assert_eq!((&violated["outputs"][0]["extra"], &violated["verdict"]), (&1.into(), &"violated".into()), "{violated}");
        let table = own.run(&["audit", "--differences", "1"])?;
        assert_eq!(table.status.code(), Some(5), "{}", table.stdout);
        says(&table.stdout, &["extra   A-4", "0 cents after 1 payments", "NOT exactly once", "1 in"])
    });
}

#[test]
fn dead_letters_of_a_job_of_ones_own_are_listed_shown_and_replayed_once() {
    within(LIMIT, || {
        // Given a job that has refused some of its input
        let own = Own::new()?;
        own.succeed(&["topics", "create", "--partitions", "2"])?;
        own.pay()?;
        own.catch_up()?;
        // Then they are listed, with the classes that its decoder gives
        let lines = own.succeed(&["dlq", "list", "--json", "--class", "no_account"])?;
        let listed = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        assert_eq!(listed.len() as u64, BAD / 2);
        let first = listed.first().context("no letter")?;
        assert_eq!((&first["job"], &first["class"]), (&"account-balances".into(), &"no_account".into()));
        assert_eq!((&first["source"]["topic"], &first["replayed"]), (&own.topic("payments").into(), &false.into()));
        // And shown
        let place = format!("{}:{}", first["partition"], first["offset"]);
        assert_eq!(own.succeed(&["dlq", "show", &place, "--raw"])?, r#"{"account":"","cents":1}"#);
        // And each is sent back once, however often it is asked
        assert_eq!(own.replay(&["--dry-run"])?, (BAD, 0));
        assert_eq!(own.replay(&["--class", "no_account"])?, (BAD / 2, 0));
        assert_eq!(own.replay(&["--batch", "7"])?, (BAD / 2, BAD / 2));
        assert_eq!(own.replay(&[])?, (0, BAD));
        let input = own.job.cluster()?.read(&own.topic("payments"))?;
        let of: Vec<String> = input.iter().filter_map(|record| record.header("replay.of")).collect();
        assert_eq!((of.len() as u64, of.iter().collect::<BTreeSet<_>>().len() as u64), (BAD, BAD));
        ensure!(of.iter().all(|of| of.starts_with(&format!("{}/", own.topic("payments-dead")))), "{of:?}");
        // And the job refuses them again, rightly, and the audit agrees
        own.catch_up()?;
        let audit = own.audit(0)?;
        assert_eq!((&audit["records_in"], &audit["outputs"][1]["found"]), (&(PAYMENTS + 2 * BAD).into(), &(2 * BAD).into()));
        // What it has not is told with what it has
        let other = own.run(&["dlq", "list", "--topic", "elsewhere"])?;
        assert_eq!(other.status.code(), Some(2), "{}", other.stderr);
        says(&other.stderr, &["--topic elsewhere", &own.topic("payments-dead")])
    });
}

#[test]
fn a_job_without_an_audit_says_how_to_give_it_one() {
    within(LIMIT, || {
        let own = Own { program: example("orders_in_rust")?, ..Own::new()? };
        let none = own.run(&["audit"])?;
        assert_eq!((none.status.code(), none.stdout.as_str()), (Some(2), ""), "{}", none.stderr);
        says(&none.stderr, &["has no audit", "app.audit("])
    });
}
