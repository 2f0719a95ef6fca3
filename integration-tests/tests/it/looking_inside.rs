//! A checkpoint can be looked into without the job's code and without a broker: what it shows of the state is what readers of the
//! outputs have seen, damage is named, two checkpoints can be compared, and looking changes nothing.

use crate::harness::{LIMIT, contents, job, says, within};
use integration_tests::{
    Context, Result, anyhow,
    deadline::wait_until,
    ensure,
    job::{COMMAND, Job, Load},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

const EVENTS: u64 = 20_000;
/// `state get` is one start of the program; all orders are compared by one `state scan`.
const ASKED_ALONE: usize = 20;
/// The same in a running job, which has another checkpoint every time.
const ASKED_AT_RANDOM: usize = 1_000;

/// A job that has read its input to the end and keeps several checkpoints. From here on its settings name no broker that is there.
fn finished(loads: &[Load]) -> Result<Job> {
    let mut job = job()?;
    job.set("checkpoint.retained", 100);
    job.create_topics()?;
    for load in loads {
        job.generate(*load)?;
        job.catch_up()?;
    }
    job.set("kafka.bootstrap_servers", "127.0.0.1:1");
    Ok(job)
}

/// What a command with `--json` has printed; it must end with `code`.
fn json(job: &Job, code: i32, arguments: &[&str]) -> Result<Value> {
    let done = job.run(arguments.iter().chain(&["--json"]))?;
    ensure!(done.status.code() == Some(code), "{arguments:?}: {}:\n{}{}", done.status, done.stdout, done.stderr);
    serde_json::from_str(&done.stdout).with_context(|| format!("{arguments:?} printed no JSON: {}", done.stdout))
}

/// A command must end with `code`, having said each of `words`.
fn ends(job: &Job, code: i32, arguments: &[&str], words: &[&str]) -> Result<()> {
    let done = job.run(arguments)?;
    let said = format!("{}{}", done.stdout, done.stderr);
    ensure!(done.status.code() == Some(code), "{arguments:?} ended with {} instead of {code}:\n{said}", done.status);
    says(&said, words).with_context(|| format!("{arguments:?}"))
}

/// All entries of a state, by key as JSON.
fn scan(job: &Job, operator: &str, state: &str, more: &[&str]) -> Result<BTreeMap<String, Value>> {
    let arguments = ["state", "scan", "--operator", operator, "--state", state, "--limit", "0", "--json"];
    let lines = job.succeed(arguments.iter().chain(more), COMMAND)?;
    let mut entries = BTreeMap::new();
    for line in lines.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let before = entries.insert(entry["key"].to_string(), entry["value"].clone());
        ensure!(before.is_none(), "{} came twice", entry["key"]);
    }
    Ok(entries)
}

/// Per order, as JSON, its last record in `order-status`: without the key, and without times that it has not reached.
fn last_status(job: &Job) -> Result<BTreeMap<String, Value>> {
    let mut last = BTreeMap::new();
    for record in job.cluster()?.read(&job.output("order-status"))? {
        let mut fields: Map<String, Value> = serde_json::from_value(record.json()?)?;
        let order = fields.remove("orderId").context("a status without order")?;
        fields.retain(|_, value| !value.is_null());
        last.insert(order.to_string(), Value::Object(fields));
    }
    Ok(last)
}

/// Number of entries of `operator/state` as `state list` counts them.
fn listed(list: &Value, operator: &str, state: &str) -> Result<u64> {
    let states = list["states"].as_array().context("no states")?;
    let found = states.iter().find(|one| one["operator"] == operator && one["state"] == state);
    found.and_then(|one| one["entries"].as_u64()).with_context(|| format!("no {operator}/{state} in {list}"))
}

#[test]
fn the_state_of_every_order_is_what_readers_saw_last_and_looking_changes_nothing() {
    within(LIMIT, || {
        // Given a job that has come to the end of its input
        let job = finished(&[Load::of(EVENTS)])?;
        let expected = last_status(&job)?;
        ensure!(expected.len() > 1_000, "only {} orders", expected.len());
        let before = contents(&job.storage())?;

        // Then the state of every order is its last status
        let orders = scan(&job, "track", "order", &[])?;
        for (order, status) in &expected {
            ensure!(orders.get(order) == Some(status), "{order}: readers saw {status}, the state is {:?}", orders.get(order));
        }
        assert_eq!(orders.len(), expected.len());
        // And so it is when one is asked for alone
        for (order, status) in expected.iter().step_by(expected.len() / ASKED_ALONE) {
            let key: String = serde_json::from_str(order)?;
            let arguments = ["state", "get", "--operator", "track", "--state", "order", "--key", &key];
            assert_eq!(json(&job, 0, &arguments)?["value"], *status);
            assert_eq!(serde_json::from_str::<Value>(&job.succeed(arguments, COMMAND)?)?, *status);
        }
        // And a window of a user, which lies in the key group of the user, is found by its own key
        let windows = scan(&job, "purchases", "windows", &[])?;
        let (window, sums) = windows.iter().nth(windows.len() / 2).context("no window")?;
        let found = json(&job, 0, &["state", "get", "--operator", "purchases", "--state", "windows", "--key", window])?;
        assert_eq!((found["value"].clone(), found["key"].to_string()), (sums.clone(), window.clone()));
        // And a prefix gives what begins with it
        let parts: (i64, String) = serde_json::from_str(window)?;
        let begin = parts.1.get(..3).context("a short user")?;
        let prefix = format!("[{},{begin:?}]", parts.0);
        let some = scan(&job, "purchases", "windows", &["--prefix", &prefix])?;
        let wanted = |key: &&String| key.starts_with(&format!("[{},\"{begin}", parts.0));
        let wanted: BTreeSet<&String> = windows.keys().filter(wanted).collect();
        assert_eq!(some.keys().collect::<BTreeSet<_>>(), wanted);
        ensure!(wanted.len() < windows.len(), "the prefix {prefix} says nothing");
        // And the list counts the same
        let list = json(&job, 0, &["state", "list"])?;
        assert_eq!(listed(&list, "track", "order")?, expected.len() as u64);
        assert_eq!(listed(&list, "dedup", "seen")?, expected.len() as u64);
        assert_eq!(listed(&list, "purchases", "windows")?, windows.len() as u64);
        ends(&job, 0, &["state", "list"], &["track", "order", "text", "userId: text", "cancellationTime?: integer", "batches"])?;
        // And without --limit 0, a hundred are enough
        let arguments = ["state", "scan", "--operator", "track", "--state", "order"];
        let some = job.run(arguments)?;
        assert_eq!((some.stdout.lines().count(), some.status.code()), (100, Some(0)));
        says(&some.stderr, &["--limit 0"])?;

        // And nothing was changed by all that, and nothing is left
        ensure!(contents(&job.storage())? == before, "the storage has changed");
        let state = job.folder().join("state").join(job.name());
        let left: Vec<_> = fs::read_dir(&state)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    });
}

#[test]
fn a_running_job_can_be_looked_into_although_it_keeps_one_checkpoint_only() {
    within(LIMIT, || {
        // Given a job at work that takes five checkpoints a second and clears away the one before
        let job = job()?.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        let mut load = job.start_generating(Load::of(50 * EVENTS).at(2_000).more())?;
        // Then its last completed one can be verified and read, again and again
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for _ in 0..8 {
            let verified = json(&job, 0, &["checkpoint", "verify"])?;
            assert_eq!((&verified["restorable"], &verified["committed"]), (&true.into(), &true.into()), "{verified}");
            let list = json(&job, 0, &["state", "list"])?;
            let checkpoint = list["checkpoint"].as_u64().context("no checkpoint")?;
            seen.push((checkpoint, listed(&list, "track", "order")?));
            service.wait_checkpoints(1)?;
        }
        ensure!(seen.is_sorted() && seen.first() < seen.last(), "it did not move on: {seen:?}");
        // And what it takes on the disk is shown: one checkpoint and what it replaces, whatever number of them there were
        let samples = service.metrics()?;
        let bytes = |name: &str, part: &str| samples.sum(name, &[("part", part)]);
        let (storage, disk) = ("sluicegate_checkpoint_storage_bytes", "sluicegate_state_disk_bytes");
        let size = samples.sum("sluicegate_checkpoint_last_size_bytes", &[]);
        let (stored, live) = (bytes(storage, "referenced") + bytes(storage, "unreferenced"), bytes(disk, "live"));
        ensure!(size > 0.0 && stored > size / 2.0 && stored < size * 2.0, "{stored} bytes in the storage, {size} of state");
        ensure!(live > size / 2.0 && bytes(disk, "snapshots") <= size, "{live} bytes of local state, {size} in the checkpoint");
        ends(&job, 0, &["checkpoint", "list"], &["checkpoint", "names", "in all"])?;
        load.kill()?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        // And the job took no harm
        job.catch_up()?;
        job.audit().map(drop)
    });
}

#[test]
fn in_a_running_job_the_state_of_a_thousand_random_orders_is_what_readers_saw_last() {
    within(LIMIT, || {
        // Given a job that has worked off a load, and is at work on other orders since
        let job = job()?.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        let all = EVENTS as i64;
        wait_until("the first load is committed", COMMAND, || Ok(job.committed().is_ok_and(|committed| committed >= all)))?;
        let expected: Vec<(String, Value)> = last_status(&job)?.into_iter().collect();
        let mut load = job.start_generating(Load::of(50 * EVENTS).at(1_000).more())?;
        service.wait_checkpoints(2)?;
        // When a thousand of the first ones are asked for, four at a time
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let chosen: Vec<&(String, Value)> = rand::seq::index::sample(&mut random, expected.len(), ASKED_AT_RANDOM)
            .into_iter()
            .filter_map(|index| expected.get(index))
            .collect();
        let checkpoints = thread::scope(|scope| {
            let ask = |part: &[&(String, Value)]| -> Result<BTreeSet<u64>> {
                let mut checkpoints = BTreeSet::new();
                for (order, status) in part.iter().copied() {
                    let key: String = serde_json::from_str(order)?;
                    let found = json(&job, 0, &["state", "get", "--operator", "track", "--state", "order", "--key", &key])?;
                    ensure!(found["value"] == *status, "{order}, seed {seed}: readers saw {status}, the state is {found}");
                    checkpoints.insert(found["checkpoint"].as_u64().context("no checkpoint")?);
                }
                Ok(checkpoints)
            };
            let asking: Vec<_> = chosen.chunks(ASKED_AT_RANDOM / 4).map(|part| scope.spawn(move || ask(part))).collect();
            let asked = asking.into_iter().map(|part| part.join().map_err(|_| anyhow!("a thread panicked"))?);
            asked.collect::<Result<Vec<_>>>()
        })?;
        // Then each is what readers saw, and the job went on meanwhile
        assert_eq!(chosen.len(), ASKED_AT_RANDOM);
        let checkpoints: BTreeSet<u64> = checkpoints.into_iter().flatten().collect();
        ensure!(checkpoints.len() > 3, "it was not at work: the answers are from {checkpoints:?}");
        ensure!(job.committed()? > all, "nothing of the second load is committed");
        load.kill()?;
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        Ok(())
    });
}

#[test]
fn verify_names_every_flipped_bit_and_every_missing_file() {
    within(LIMIT, || {
        let job = finished(&[Load::of(2_000)])?;
        let whole = json(&job, 0, &["checkpoint", "verify"])?;
        let number = whole["checkpoint"].as_u64().context("no number")?;
        assert_eq!((&whole["restorable"], whole["damaged"].as_array().map(Vec::len)), (&true.into(), Some(0)));
        ends(&job, 0, &["checkpoint", "verify", &number.to_string()], &["can be restored"])?;
        let shown = json(&job, 0, &["checkpoint", "show"])?;
        let files = shown["manifest"]["files"].as_array().context("no files")?;
        let object = |file: &Value| -> Result<PathBuf> {
            let text = |field: &str| file[field].as_str().context("a field is missing");
            Ok(job.storage().join(job.name()).join("files").join(format!("{}-{}", text("hash")?, text("written_by")?)))
        };
        let table = |file: &&Value| file["name"].as_str().is_some_and(|name| name.ends_with(".sst"));
        let mut tables = files.iter().filter(table);
        let (first, second) = (object(tables.next().context("no table")?)?, object(tables.next().context("one table only")?)?);
        let look: [&[&str]; 3] = [
            &["checkpoint", "verify"],
            &["state", "list"],
            &["state", "get", "--operator", "track", "--state", "order", "--key", "O-000000001"],
        ];
        // When one bit of a table is another, then each command that reads it says no, with its name
        let bytes = fs::read(&first)?;
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        *flipped.get_mut(middle).context("an empty table")? ^= 1;
        fs::remove_file(&first)?;
        fs::write(&first, &flipped)?;
        let name = |path: &Path| path.display().to_string();
        for arguments in look {
            ends(&job, 4, arguments, &[&name(&first), "damaged"])?;
        }
        // When another one is missing as well, then both are named
        let aside = job.folder().join("aside");
        fs::rename(&second, &aside)?;
        let both = json(&job, 4, &["checkpoint", "verify"])?;
        let damaged = both["damaged"].as_array().context("no list")?;
        let named: BTreeSet<(String, String)> =
            damaged.iter().map(|one| (one["object"].to_string(), one["problem"].to_string())).collect();
        let quoted = |path: &Path| Value::from(name(path)).to_string();
        assert_eq!(named, [(quoted(&first), "\"damaged\"".into()), (quoted(&second), "\"missing\"".into())].into());
        assert_eq!(both["restorable"], Value::from(false));
        // When only that one is missing, then it is named alone
        fs::remove_file(&first)?;
        fs::write(&first, &bytes)?;
        for arguments in look {
            ends(&job, 4, arguments, &[&name(&second), "missing"])?;
        }
        fs::rename(&aside, &second)?;
        // When the manifest says something else than when it was committed, then that is noticed
        let manifest = job.manifest(number);
        let text = fs::read_to_string(&manifest)?;
        fs::write(&manifest, text.replace("\"group\": \"sluicegate-", "\"group\": \"sluicegate_"))?;
        ends(&job, 4, &["checkpoint", "verify"], &[&name(&manifest), "mark"])?;
        assert_eq!(json(&job, 4, &["checkpoint", "verify"])?["restorable"], Value::from(false));
        // When it is of a format to come, then both versions are named
        fs::write(&manifest, text.replace("\"format\": 1,", "\"format\": 9,"))?;
        for arguments in look {
            ends(&job, 4, arguments, &[&name(&manifest), "format 9", "newer sluicegate"])?;
        }
        // When it is gone, then no other one is taken in its place
        fs::remove_file(&manifest)?;
        for arguments in look {
            ends(&job, 4, arguments, &[&name(&manifest), "missing"])?;
        }
        // And with everything back, all is well
        fs::write(&manifest, &text)?;
        for arguments in look {
            ends(&job, 0, arguments, &[])?;
        }
        Ok(())
    });
}

#[test]
fn the_difference_of_two_checkpoints_adds_up() {
    within(LIMIT, || {
        // Given the last checkpoints of two loads
        let first = Load::of(EVENTS);
        let job = finished(&[first, first.more()])?;
        let list = json(&job, 0, &["checkpoint", "list"])?;
        let list = list.as_array().context("no list")?;
        let read = |one: &Value| one["offsets"].as_object().map(|all| all.values().filter_map(Value::as_i64).sum::<i64>());
        let after_first = list.iter().filter(|one| read(one) == Some(EVENTS as i64)).filter_map(|one| one["checkpoint"].as_u64());
        let (one, other) = (after_first.max().context("no checkpoint of the first load")?, list.last().context("none")?);
        let other = other["checkpoint"].as_u64().context("no number")?;
        // When they are compared
        let (one, other) = (one.to_string(), other.to_string());
        let difference = json(&job, 0, &["checkpoint", "diff", &one, &other])?;
        // Then the files are those of the manifests
        let objects = |checkpoint: &str| -> Result<BTreeMap<String, u64>> {
            let shown = json(&job, 0, &["checkpoint", "show", checkpoint])?;
            let files = shown["manifest"]["files"].as_array().context("no files")?;
            let one = |file: &Value| Some((format!("{}{}", file["hash"], file["written_by"]), file["size"].as_u64()?));
            files.iter().map(|file| one(file).context("a file without size")).collect()
        };
        let (before, after) = (objects(&one)?, objects(&other)?);
        let only = |these: &BTreeMap<String, u64>, those: &BTreeMap<String, u64>| {
            these.iter().filter(|(name, _)| !those.contains_key(*name)).map(|(_, size)| size).sum::<u64>()
        };
        let number = |pointer: &str| difference.pointer(pointer).and_then(Value::as_u64).with_context(|| pointer.to_owned());
        assert_eq!(number("/added/bytes")?, only(&after, &before));
        assert_eq!(number("/removed/bytes")?, only(&before, &after));
        assert_eq!(number("/shared/bytes")? + number("/added/bytes")?, after.values().sum::<u64>());
        assert_eq!(number("/shared/bytes")? + number("/removed/bytes")?, number("/totalBytes/from")?);
        ensure!(number("/shared/bytes")? > 0, "nothing is shared: {difference}");
        // And the offsets moved by the second load
        let offsets = difference["offsets"].as_array().context("no offsets")?;
        assert_eq!(offsets.iter().filter_map(|one| one["moved"].as_i64()).sum::<i64>(), EVENTS as i64);
        // And the states are the same ones
        let operators = difference["operators"].as_array().context("no operators")?;
        ensure!(operators.iter().all(|one| one["states"].as_array().is_some_and(Vec::is_empty)), "{difference}");
        ends(&job, 0, &["checkpoint", "diff", &one, &other], &["added", "shared", "moved", "no state was added"])?;
        // And what the first load has left in the state is still in the older checkpoint
        let orders = |at: &str| scan(&job, "track", "order", &["--at", at]).map(|orders| orders.len());
        ensure!(orders(&one)? < orders(&other)?, "no order came with the second load");
        Ok(())
    });
}

#[test]
fn what_cannot_be_shown_ends_with_its_code_and_says_what_there_is() {
    within(LIMIT, || {
        let mut job = finished(&[Load::of(1_000)])?;
        let get = |operator, state, key| ["state", "get", "--operator", operator, "--state", state, "--key", key];
        ends(&job, 0, &get("track", "order", "O-000000001"), &["status"])?;
        // Who asks for what is not there
        ends(&job, 1, &get("track", "order", "O-none"), &["track/order has no key O-none"])?;
        ends(&job, 1, &get("trak", "order", "O-1"), &["no operator \"trak\"", "track/order", "purchases/windows"])?;
        ends(&job, 1, &get("track", "ordr", "O-1"), &["no state \"ordr\"", "order"])?;
        ends(&job, 1, &get("batches", "waiting", "1"), &["elements of its tasks", "checkpoint show --json"])?;
        ends(&job, 1, &get("purchases", "windows", "U-1"), &["wanted [an integer of 64 bits, text]"])?;
        let prefix = ["state", "scan", "--operator", "purchases", "--state", "windows", "--prefix", "[\"U\"]"];
        ends(&job, 1, &prefix, &["wanted an integer of 64 bits"])?;
        let newest = json(&job, 0, &["checkpoint", "show"])?["checkpoint"].to_string();
        ends(&job, 1, &["state", "list", "--at", "999999"], &["no checkpoint 999999", &newest])?;
        for command in ["show", "verify"] {
            ends(&job, 1, &["checkpoint", command, "999999"], &["no checkpoint 999999"])?;
        }
        ends(&job, 1, &["checkpoint", "diff", "0", "999999"], &["no checkpoint 999999"])?;
        // Who says it wrongly
        ends(&job, 2, &["state", "get", "--operator", "track"], &["--key"])?;
        ends(&job, 2, &["checkpoint", "show", "the-last"], &["the-last"])?;
        // Where there is no room for the files
        let file = job.folder().join("file");
        fs::write(&file, "")?;
        let below_a_file = file.join("below").display().to_string();
        ends(&job, 1, &["state", "list", "--temp-dir", &below_a_file], &["--temp-dir", &below_a_file])?;
        let elsewhere = job.folder().join("elsewhere").display().to_string();
        ends(&job, 0, &["state", "list", "--temp-dir", &elsewhere], &["track"])?;
        // A storage that is not there, or somebody else's
        let storage = job.storage();
        job.set("checkpoint.storage", job.folder().join("nowhere").display());
        for arguments in [["checkpoint", "show"], ["checkpoint", "verify"], ["state", "list"]] {
            ends(&job, 4, &arguments, &["nowhere"])?;
        }
        job.set("checkpoint.storage", storage.display());
        job.set("job.name", "another");
        ends(&job, 4, &["checkpoint", "verify"], &["no checkpoints of job another"])
    });
}
