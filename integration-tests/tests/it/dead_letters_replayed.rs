//! Dead letters can be listed and shown, and `dlq replay` sends each of them back once: whichever are chosen, however often it is asked,
//! wherever it is killed, and if two of them run at once. What comes back is input like any other: the audit stays clean.

use crate::harness::{LIMIT, job, says, within};
use integration_tests::{
    Context, Error, Result,
    deadline::wait_until,
    ensure,
    job::{Job, Load},
    process::{Finished, Process},
    topics::Record,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    time::Duration,
};

const EVENTS: u64 = 2_000;
/// For a command of a few seconds.
const SOON: Duration = Duration::from_secs(120);

/// A job that has read input of which a tenth is bad, and its dead letters.
fn with_dead_letters() -> Result<(Job, Vec<Record>)> {
    let job = job()?.with_events(Load::of(EVENTS).dirty(100))?;
    job.catch_up()?;
    let letters = job.cluster()?.read(&job.output("dead-letters"))?;
    ensure!(letters.len() > 100, "{} dead letters", letters.len());
    Ok((job, letters))
}

/// `dlq ARGUMENTS`, which must end with 0.
fn dlq(job: &Job, arguments: &[&str]) -> Result<Finished> {
    let finished = any(job, arguments, &[])?;
    ensure!(finished.status.success(), "dlq {arguments:?} ended with {}: {}", finished.status, finished.stderr);
    Ok(finished)
}

/// `dlq ARGUMENTS` with environment variables, however it ends.
fn any(job: &Job, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Finished> {
    let mut command = job.command([&["dlq"], arguments].concat())?;
    integration_tests::process::run(command.envs(environment.iter().copied()), SOON)
}

/// `dlq replay --json ARGUMENTS`: how many were replayed, and how many had been before.
fn replay(job: &Job, arguments: &[&str]) -> Result<(u64, u64)> {
    let finished = dlq(job, &[&["replay", "--json"], arguments].concat())?;
    let json: Value = serde_json::from_str(&finished.stdout).with_context(|| finished.stdout.clone())?;
    let number = |name: &str| json[name].as_u64().with_context(|| format!("no {name} in {json}"));
    Ok((number("replayed")?, number("replayedBefore")?))
}

/// The lines of `dlq list --json --limit 0`.
fn listed(job: &Job, arguments: &[&str]) -> Result<Vec<Value>> {
    let finished = dlq(job, &[&["list", "--json", "--limit", "0"], arguments].concat())?;
    finished.stdout.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn class(letter: &Record) -> Result<String> {
    letter.header("error.class").with_context(|| format!("no class in {letter:?}"))
}

/// Of every record that a replay has sent: the place of its letter as `<partition>/<offset>`.
fn replayed_places(job: &Job) -> Result<Vec<String>> {
    let prefix = format!("{}/", job.output("dead-letters"));
    let input = job.cluster()?.read(&job.input())?;
    let of = input.iter().filter_map(|record| record.headers.iter().rev().find(|(name, _)| name == "replay.of"));
    of.map(|(_, value)| {
        let value = String::from_utf8_lossy(value).into_owned();
        value.strip_prefix(&prefix).map(str::to_owned).with_context(|| format!("{value} is not in {prefix}"))
    })
    .collect()
}

/// That each of `letters` was replayed once, and nothing else was.
fn each_once(job: &Job, letters: &[Record]) -> Result<()> {
    let places = replayed_places(job)?;
    let once: BTreeSet<&String> = places.iter().collect();
    ensure!(once.len() == places.len(), "{} of {} were replayed twice", places.len() - once.len(), places.len());
    let wanted: BTreeSet<String> = letters.iter().map(|letter| format!("{}/{}", letter.partition, letter.offset)).collect();
    ensure!(wanted.iter().collect::<BTreeSet<_>>() == once, "{} of {} were replayed", once.len(), wanted.len());
    Ok(())
}

/// The job processes what was replayed, and its outputs are right.
fn is_processed(job: &Job, records_in: u64) -> Result<()> {
    job.catch_up()?;
    assert_eq!(job.audit()?.number("/records_in")?, records_in);
    Ok(())
}

/// A program in the job's folder.
fn script(job: &Job, lines: &str) -> Result<PathBuf> {
    let path = job.folder().join("fix.sh");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[test]
fn are_listed_and_shown_with_all_that_they_have() {
    within(LIMIT, || {
        // Given dead letters
        let (job, letters) = with_dead_letters()?;
        // When they are listed, then they are those of the topic, by class and by time
        let all = listed(&job, &[])?;
        let places: Vec<_> = letters.iter().map(|l| (i64::from(l.partition), l.offset)).collect();
        let mut found: Vec<_> = all.iter().filter_map(|l| Some((l["partition"].as_i64()?, l["offset"].as_i64()?))).collect();
        found.sort_unstable();
        assert_eq!(found, places);
        ensure!(all.iter().all(|letter| letter["replayed"] == false && letter["job"] == job.name()), "{:?}", all.first());
        let one = class(&letters[0])?;
        let of_one = letters.iter().filter(|letter| class(letter).ok().as_ref() == Some(&one)).count();
        assert_eq!(listed(&job, &["--class", &one])?.len(), of_one);
        assert_eq!(
            (listed(&job, &["--since", "1h"])?.len(), listed(&job, &["--since", "2100-01-01T00:00:00Z"])?.len()),
            (letters.len(), 0)
        );
        let table = dlq(&job, &["list", "--limit", "3"])?;
        says(&table.stdout, &["message", &one, &format!("{}", letters.len())])?;
        says(&table.stderr, &[&format!("the first 3 of {}", letters.len())])?;
        // And when one is shown, then with its bytes
        let text = letters.iter().find(|l| l.value.as_ref().is_some_and(|v| !v.is_empty() && std::str::from_utf8(v).is_ok()));
        let text = text.context("no letter is text")?;
        let place = format!("{}:{}", text.partition, text.offset);
        assert_eq!(dlq(&job, &["show", &place, "--raw"])?.stdout.as_bytes(), text.value.as_deref().unwrap_or_default());
        let shown: Value = serde_json::from_str(&dlq(&job, &["show", &place, "--json"])?.stdout)?;
        assert_eq!(shown["value"].as_str().map(str::as_bytes), text.value.as_deref());
        assert_eq!(
            (shown["class"].as_str().map(str::to_owned), shown["source"]["topic"].as_str()),
            (Some(class(text)?), Some(&*job.input()))
        );
        says(&dlq(&job, &["show", &place])?.stdout, &["came from", "checkpoint", &class(text)?])?;
        // And what is not there, or is no class, is told
        let absent = any(&job, &["show", "0:99999999"], &[])?;
        assert_eq!(absent.status.code(), Some(1), "{}", absent.stderr);
        let unknown = any(&job, &["list", "--class", "ugly"], &[])?;
        assert_eq!(unknown.status.code(), Some(2), "{}", unknown.stderr);
        says(&unknown.stderr, &["inexact_money"])
    });
}

#[test]
fn keep_key_value_and_headers_there_and_back() {
    within(LIMIT, || {
        // Given bad records with headers, one without a key, one without a value, one that was a dead letter elsewhere
        let job = job()?;
        job.create_topics()?;
        let cluster = job.cluster()?;
        let (own, empty, none) = (("trace", Some(&b"\xff7"[..])), ("empty", Some(&b""[..])), ("none", None));
        cluster.send_whole(&job.input(), 1, (None, Some(b"no json")), &[own, empty, own])?;
        cluster.send_whole(&job.input(), 2, (Some(b"O-1"), None), &[none])?;
        let dead =
            [own, ("error.topic", Some(&b"payments"[..])), ("error.partition", Some(b"7")), ("error.class", Some(b"gone"))];
        cluster.send_whole(&job.input(), 3, (Some(b"\xfe"), Some(b"\xff")), &dead)?;
        let sent = cluster.read(&job.input())?;
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/dead")?, 3);
        // Then their letters have all of it first, and ours behind
        for letter in cluster.read(&job.output("dead-letters"))? {
            let ours = letter.headers.iter().rposition(|(name, _)| name == "error.topic").context("no error.topic")?;
            let of = letter.headers.iter().rev().find(|(name, _)| name == "error.partition").context("no error.partition")?;
            let record = sent.iter().find(|record| record.partition.to_string().as_bytes() == of.1).context("of no record")?;
            assert_eq!((&letter.key, &letter.value, &letter.headers[..ours]), (&record.key, &record.value, &record.headers[..]));
        }
        // And when they are replayed, they come back to where they were, with the letter's place behind
        assert_eq!(replay(&job, &[])?, (3, 0));
        for (record, again) in sent.iter().map(|record| Ok((record, cluster.read(&job.input())?))).collect::<Result<Vec<_>>>()? {
            let again: Vec<_> =
                again.iter().filter(|other| other.partition == record.partition && other.offset > record.offset).collect();
            ensure!(again.len() == 1, "{again:?} for {record:?}");
            let (last, first) = again[0].headers.split_last().context("no header")?;
            assert_eq!((&again[0].key, &again[0].value, first), (&record.key, &record.value, &record.headers[..]));
            assert_eq!(last.0, "replay.of");
        }
        is_processed(&job, 6)
    });
}

#[test]
fn are_replayed_by_class_once_and_the_rest_later() {
    within(LIMIT, || {
        // Given dead letters of many classes
        let (job, letters) = with_dead_letters()?;
        let mut classes = BTreeMap::<String, u64>::new();
        for letter in &letters {
            *classes.entry(class(letter)?).or_default() += 1;
        }
        let (one, of_one) = classes.iter().next_back().map(|(class, count)| (class.clone(), *count)).context("no class")?;
        let (dead, before) = (letters.len() as u64, job.cluster()?.read(&job.input())?);
        // When a replay is only tried, then nothing is sent
        assert_eq!(replay(&job, &["--dry-run"])?, (dead, 0));
        assert_eq!(replay(&job, &["--class", &one, "--dry-run"])?, (of_one, 0));
        assert_eq!(job.cluster()?.read(&job.input())?.len(), before.len());
        // When one class is replayed, then these, once, and later the rest
        assert_eq!(replay(&job, &["--class", &one])?, (of_one, 0));
        assert_eq!(replay(&job, &["--class", &one])?, (0, of_one));
        assert_eq!(replayed_places(&job)?.len() as u64, of_one);
        assert_eq!(replay(&job, &["--batch", "70"])?, (dead - of_one, of_one));
        assert_eq!(replay(&job, &[])?, (0, dead));
        each_once(&job, &letters)?;
        // And each is what it was, where it was
        let at: BTreeMap<_, _> = before.iter().map(|record| ((record.partition, record.offset), record)).collect();
        for letter in &letters {
            let number = |name: &str| letter.header(name).with_context(|| format!("no {name} in {letter:?}"));
            let origin = (number("error.partition")?.parse()?, number("error.offset")?.parse()?);
            ensure!(
                at.get(&origin).is_some_and(|o| o.key == letter.key && o.value == letter.value),
                "{letter:?} is not its record"
            );
        }
        let after = job.cluster()?.read(&job.input())?;
        let of: BTreeMap<_, _> =
            letters.iter().map(|l| (format!("{}/{}/{}", job.output("dead-letters"), l.partition, l.offset), l)).collect();
        for record in after.iter().filter(|record| record.header("replay.of").is_some()) {
            let letter = of.get(&record.header("replay.of").unwrap_or_default()).context("of no letter")?;
            ensure!(
                record.key == letter.key && record.value == letter.value && record.headers.len() == 1,
                "{record:?} of {letter:?}"
            );
            assert_eq!(letter.header("error.partition"), Some(record.partition.to_string()));
        }
        // And the job refuses them again, rightly: they are new letters, not replayed yet
        is_processed(&job, EVENTS + dead)?;
        let all = listed(&job, &[])?;
        let replayed = all.iter().filter(|letter| letter["replayed"] == true).count() as u64;
        assert_eq!((all.len() as u64, replayed), (2 * dead, dead));
        Ok(())
    });
}

#[test]
fn are_replayed_once_wherever_the_replay_is_killed() {
    within(2 * LIMIT, || {
        let (job, letters) = with_dead_letters()?;
        // When it is killed before and behind a commit, the first one and a later one
        let points = [
            "before-replay-commit=kill",
            "before-replay-commit=kill@3",
            "after-replay-commit=kill",
            "after-replay-commit=kill@2",
        ];
        for point in points {
            let killed = any(&job, &["replay", "--batch", "10"], &[("SLUICEGATE_FAILPOINTS", point)])?;
            ensure!(killed.status.signal() == Some(9), "{point}: {} {}", killed.status, killed.stderr);
        }
        // And at any time, as soon as something of it is visible
        for _ in 0..3 {
            let before = replayed_places(&job)?.len();
            let log = job.folder().join("replay.log");
            let mut process = Process::spawn("dlq replay", &mut job.command(["dlq", "replay", "--batch", "5"])?, &log)?;
            wait_until("a first batch", SOON, || Ok(process.try_exit()?.is_some() || replayed_places(&job)?.len() > before))?;
            process.kill()?;
        }
        // Then a last one sends what is left
        let (replayed, before) = replay(&job, &[])?;
        assert_eq!(replayed + before, letters.len() as u64);
        ensure!(before >= 10, "nothing had been replayed before: {before}");
        each_once(&job, &letters)?;
        is_processed(&job, EVENTS + letters.len() as u64)
    });
}

#[test]
fn are_replayed_once_by_two_replays_at_the_same_time() {
    within(LIMIT, || {
        // Given a replay that stands still before its second commit
        let (job, letters) = with_dead_letters()?;
        let mut first = job.command(["dlq", "replay", "--batch", "20"])?;
        first.env("SLUICEGATE_FAILPOINTS", "before-replay-commit=sleep:40s@2");
        let mut first = Process::spawn("dlq replay", &mut first, &job.folder().join("first.log"))?;
        wait_until("the first batch", SOON, || Ok(replayed_places(&job)?.len() == 20))?;
        // When another one comes
        let (replayed, before) = replay(&job, &[])?;
        // Then it has taken over, and the first one ends as fenced
        assert_eq!((replayed, before), (letters.len() as u64 - 20, 20));
        let exit = first.wait(SOON)?;
        ensure!(exit.code() == Some(3), "{}", first.last_lines(10));
        each_once(&job, &letters)?;
        is_processed(&job, EVENTS + letters.len() as u64)
    });
}

#[test]
fn are_accepted_once_a_script_has_mended_them() {
    within(LIMIT, || {
        // Given orders with an amount that is no whole number of cents, and one that nobody can mend
        let job = job()?;
        job.create_topics()?;
        let order = |number: u32, amount: &str| {
            format!(
                r#"{{"orderId":"O-{number}","userId":"U-1","eventType":"CREATED","amount":{amount},"itemCount":1,"category":"books","items":[{{"productId":"P-1","productName":"Product","quantity":1,"price":4.99}}],"timestamp":{}}}"#,
                1_767_225_600_000_u64 + u64::from(number)
            )
        };
        let bad: Vec<(String, String)> = (0..40).map(|number| (format!("O-{number}"), order(number, "4.999"))).collect();
        let cluster = job.cluster()?;
        cluster.send(&job.input(), bad.iter().map(|(key, value)| (key.as_str(), value.as_bytes())))?;
        cluster.send(&job.input(), [("O-999", &b"\xff\xfe"[..])])?;
        job.catch_up()?;
        assert_eq!(listed(&job, &[])?.len(), 41);
        let input = || Ok::<_, Error>(cluster.read(&job.input())?.len());
        // When the script dies, or answers what is no answer, then nothing is sent, and the letter is named
        let dies = script(&job, "read -r line; echo \"$line\"; read -r line; exit 7")?.display().to_string();
        let died = any(&job, &["replay", "--fix", &dies], &[])?;
        assert_eq!(died.status.code(), Some(1), "{}", died.stderr);
        says(&died.stderr, &["exit status: 7", "dead letter"])?;
        let babbles = script(&job, "while read -r line; do echo mended; done")?.display().to_string();
        let babbled = any(&job, &["replay", "--fix", &babbles], &[])?;
        assert_eq!(babbled.status.code(), Some(1), "{}", babbled.stderr);
        says(&babbled.stderr, &["not understood", "mended", "valueBase64"])?;
        assert_eq!(input()?, 41);
        // When it mends what it can
        let lines = "while IFS= read -r line; do case \"$line\" in\n*valueBase64*) echo '{\"value\":null}';;\n\
                     *) printf '%s\\n' \"$line\" | sed 's/4\\.999/4.99/g';;\nesac; done";
        let mends = script(&job, lines)?.display().to_string();
        assert_eq!(replay(&job, &["--fix", &mends, "--dry-run"])?, (40, 0));
        assert_eq!(replay(&job, &["--fix", &mends])?, (40, 0));
        assert_eq!(replay(&job, &["--fix", &mends])?, (0, 40));
        assert_eq!(input()?, 81);
        // Then the job accepts these, and the one that was left alone can be replayed still
        job.catch_up()?;
        let audit = job.audit()?;
        assert_eq!((audit.number("/accepted")?, audit.number("/dead")?), (40, 41));
        assert_eq!(replay(&job, &["--dry-run"])?, (1, 40));
        Ok(())
    });
}
