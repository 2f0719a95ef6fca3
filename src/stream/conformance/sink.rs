//! What sinks promise. Each case has a place of its own, and names as the engine uses it: a process that dies is an instance that is
//! dropped, the next process another instance in the same place, with the next epoch.

use super::promise::{Broken, Promise};
use crate::engine::{
    Outgoing,
    local::{Owner, Sink, SinkTransaction, TwoPhaseCommitSink},
};
use crate::protocol::{Failure, JobName};

/// Where a sink writes: the suite asks for a new and empty one for each of its cases.
/// An example is at [`two_phase_commit_sink`].
pub trait Place {
    /// The sink.
    type Sink;

    /// A sink in this place as a new process opens it: it shares nothing with those before but what lies in the place.
    fn sink(&self) -> Self::Sink;

    /// The values of the records that readers see now, in the order in which they see them.
    ///
    /// # Errors
    /// The place cannot be read.
    fn visible(&self) -> Result<Vec<String>, Failure>;

    /// What lies there beside what readers see: names of staged files, for example. None where nobody can tell.
    ///
    /// # Errors
    /// The place cannot be read.
    fn leftovers(&self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

/// Tries a sink that commits in two phases, in places that `place` makes.
///
/// # Errors
/// The first promise that it does not keep.
///
/// ```
/// use sluicegate::{connectors::Collected, stream::{Failure, conformance}};
///
/// struct Memory(Collected);
///
/// impl conformance::Place for Memory {
///     type Sink = Collected;
///     fn sink(&self) -> Collected {
///         self.0.clone()
///     }
///     fn visible(&self) -> Result<Vec<String>, Failure> {
///         Ok(self.0.lines())
///     }
/// }
///
/// assert_eq!(conformance::two_phase_commit_sink(|| Memory(Collected::new())), Ok(()));
/// ```
pub fn two_phase_commit_sink<P: Place>(place: impl Fn() -> P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let cases = [
        nothing_before_commit,
        commit_shows_all,
        commit_is_idempotent,
        transactions_are_apart,
        recovery_commits,
        abort_leaves_nothing,
        jobs_are_apart,
        zombies_stay_invisible,
        newer_stays,
    ];
    cases.iter().try_for_each(|case| case(&place()))
}

/// Tries a sink that is at-least-once, in places that `place` makes.
///
/// # Errors
/// The first promise that it does not keep.
///
/// ```
/// use sluicegate::stream::{Failure, Outgoing, Owner, Sink, SinkWriter, conformance};
/// use std::sync::{Arc, Mutex};
///
/// /// Lines in memory, as they come.
/// #[derive(Clone, Default)]
/// struct Lines(Arc<Mutex<Vec<String>>>);
///
/// impl Sink for Lines {
///     fn open(&self, _: &Owner) -> Result<Box<dyn SinkWriter>, Failure> {
///         Ok(Box::new(self.clone()))
///     }
///     fn describe(&self) -> String {
///         "lines in memory".into()
///     }
/// }
///
/// impl SinkWriter for Lines {
///     fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
///         self.0.lock().unwrap().extend(record.value.map(|value| String::from_utf8_lossy(value).into_owned()));
///         Ok(())
///     }
///     fn flush(&mut self) -> Result<(), Failure> {
///         Ok(())
///     }
/// }
///
/// impl conformance::Place for Lines {
///     type Sink = Self;
///     fn sink(&self) -> Self {
///         self.clone()
///     }
///     fn visible(&self) -> Result<Vec<String>, Failure> {
///         Ok(self.0.lock().unwrap().clone())
///     }
/// }
///
/// assert_eq!(conformance::sink(Lines::default), Ok(()));
/// ```
pub fn sink<P: Place>(place: impl Fn() -> P) -> Result<(), Broken>
where
    P::Sink: Sink,
{
    let here = place();
    let first = here.sink();
    write_through(&first, 1, &["a", "b"])?;
    expect(&here, Promise::FlushShowsAll, &["a", "b"], "two records were written and flushed")?;
    write_through(&first, 1, &[])?;
    write_through(&first, 1, &["c"])?;
    expect(
        &here,
        Promise::FlushShowsAll,
        &["a", "b", "c"],
        "a second and a third writer were flushed, the second without a record",
    )?;
    drop(first);
    write_through(&here.sink(), 2, &["d"])?;
    expect(&here, Promise::NothingIsTakenBack, &["a", "b", "c", "d"], "a new instance has written one more record")
}

/// A name that the names of others begin with.
const JOB: &str = "conformance";
const NEIGHBOUR: &str = "conformance-2";

fn owner(job: &str, epoch: u64) -> Result<Owner, Broken> {
    let job: JobName = job.parse().map_err(|why| Broken::new(Promise::NothingFails, format!("job {job}: {why}")))?;
    Ok(Owner { job, epoch })
}

fn write(transaction: &mut dyn SinkTransaction, records: &[&str]) -> Result<(), Broken> {
    records.iter().try_for_each(|record| {
        let outgoing = Outgoing { topic: "sink", key: None, value: Some(record.as_bytes()), headers: &[] };
        transaction.write(&outgoing).map_err(Broken::failed("write"))
    })
}

fn begin(sink: &impl TwoPhaseCommitSink, epoch: u64, records: &[&str]) -> Result<Box<dyn SinkTransaction>, Broken> {
    let mut transaction = sink.begin(&owner(JOB, epoch)?).map_err(Broken::failed("begin"))?;
    write(&mut *transaction, records)?;
    Ok(transaction)
}

fn pre_commit(sink: &impl TwoPhaseCommitSink, epoch: u64, records: &[&str]) -> Result<Vec<String>, Broken> {
    begin(sink, epoch, records)?.pre_commit().map_err(Broken::failed("pre_commit"))
}

fn commit(sink: &impl TwoPhaseCommitSink, staged: &[String]) -> Result<(), Broken> {
    sink.commit(staged).map_err(Broken::failed("commit"))
}

fn recover(sink: &impl TwoPhaseCommitSink, epoch: u64, committed: Option<&[String]>) -> Result<(), Broken> {
    sink.recover(&owner(JOB, epoch)?, committed).map_err(Broken::failed("recover"))
}

/// The first start of a job: a sink, recovered with nothing.
fn started<P: Place>(place: &P) -> Result<P::Sink, Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let sink = place.sink();
    recover(&sink, 1, None)?;
    Ok(sink)
}

fn write_through(sink: &impl Sink, epoch: u64, records: &[&str]) -> Result<(), Broken> {
    let mut writer = sink.open(&owner(JOB, epoch)?).map_err(Broken::failed("open"))?;
    for record in records {
        let outgoing = Outgoing { topic: "sink", key: None, value: Some(record.as_bytes()), headers: &[] };
        writer.write(&outgoing).map_err(Broken::failed("write"))?;
    }
    writer.flush().map_err(Broken::failed("flush"))
}

fn expect(place: &impl Place, promise: Promise, expected: &[&str], after: &str) -> Result<(), Broken> {
    let found = place.visible().map_err(Broken::failed("what is visible"))?;
    if found == expected {
        return Ok(());
    }
    Err(Broken::new(promise, format!("{after}: {expected:?} should be visible, and {found:?} is")))
}

fn nothing_before_commit<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::NothingBeforeCommit;
    let sink = started(place)?;
    expect(place, promise, &[], "a sink was opened in an empty place")?;
    let transaction = begin(&sink, 1, &["a", "b"])?;
    expect(place, promise, &[], "two records were written")?;
    transaction.pre_commit().map_err(Broken::failed("pre_commit"))?;
    expect(place, promise, &[], "two records were pre-committed")
}

fn commit_shows_all<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::CommitShowsAll;
    let sink = started(place)?;
    let records: Vec<String> = (0..300).map(|number| format!("{number:04}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let (first, second) = records.split_at(200);
    commit(&sink, &pre_commit(&sink, 1, first)?)?;
    expect(place, promise, first, "200 records were committed")?;
    commit(&sink, &pre_commit(&sink, 1, &[])?)?;
    expect(place, promise, first, "a transaction without records was committed after them")?;
    commit(&sink, &pre_commit(&sink, 1, second)?)?;
    expect(place, promise, &records, "100 more were committed")
}

fn commit_is_idempotent<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::CommitIsIdempotent;
    let sink = started(place)?;
    let staged = pre_commit(&sink, 1, &["a", "b"])?;
    commit(&sink, &staged)?;
    commit(&sink, &staged)?;
    expect(place, promise, &["a", "b"], "a transaction was committed twice")?;
    drop(sink);
    let next = place.sink();
    recover(&next, 2, Some(&staged))?;
    expect(place, promise, &["a", "b"], "another instance recovered with what was committed before")?;
    commit(&next, &pre_commit(&next, 2, &["c"])?)?;
    commit(&next, &staged)?;
    expect(place, promise, &["a", "b", "c"], "it committed one more record, and once more what was committed before")
}

fn transactions_are_apart<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::TransactionsAreApart;
    let sink = started(place)?;
    let first = pre_commit(&sink, 1, &["a"])?;
    let second = begin(&sink, 1, &["b"])?;
    commit(&sink, &first)?;
    expect(place, promise, &["a"], "one was committed while records were written to the next")?;
    let second = second.pre_commit().map_err(Broken::failed("pre_commit"))?;
    let mut third = begin(&sink, 1, &["c"])?;
    expect(place, promise, &["a"], "the next was pre-committed")?;
    commit(&sink, &second)?;
    expect(place, promise, &["a", "b"], "the next was committed")?;
    write(&mut *third, &["d"])?;
    commit(&sink, &third.pre_commit().map_err(Broken::failed("pre_commit"))?)?;
    expect(place, promise, &["a", "b", "c", "d"], "the last one was committed, which was begun before the one before it was")
}

fn recovery_commits<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::RecoveryCommits;
    let sink = started(place)?;
    let before = pre_commit(&sink, 1, &["a"])?;
    commit(&sink, &before)?;
    let staged = pre_commit(&sink, 1, &["b", "c"])?;
    drop(sink);
    // The commit log names them; nobody has called commit.
    let next = place.sink();
    recover(&next, 2, Some(&staged))?;
    expect(place, promise, &["a", "b", "c"], "a new instance recovered with what was pre-committed and named by a commit")?;
    drop(next);
    // It died before anybody knew.
    let last = place.sink();
    recover(&last, 3, Some(&staged))?;
    expect(place, promise, &["a", "b", "c"], "one more instance recovered with the same")?;
    commit(&last, &pre_commit(&last, 3, &["d"])?)?;
    expect(place, promise, &["a", "b", "c", "d"], "it went on")
}

fn abort_leaves_nothing<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::AbortLeavesNothing;
    let nothing_beside = |after: &str| match place.leftovers().map_err(Broken::failed("what is left over"))? {
        left if left.is_empty() => Ok(()),
        left => Err(Broken::new(promise, format!("{after}: {left:?} are left over"))),
    };
    let sink = started(place)?;
    let before = pre_commit(&sink, 1, &["a"])?;
    commit(&sink, &before)?;
    drop(begin(&sink, 1, &["dropped"])?);
    expect(place, promise, &["a"], "a transaction was dropped")?;
    pre_commit(&sink, 1, &["pre-committed"])?;
    let open = begin(&sink, 1, &["open"])?;
    drop((open, sink));
    let next = place.sink();
    recover(&next, 2, Some(&before))?;
    let after = "a new instance recovered; one transaction was dropped, one pre-committed, one open when the other instance died";
    expect(place, promise, &["a"], after)?;
    nothing_beside(after)?;
    commit(&next, &pre_commit(&next, 2, &["b"])?)?;
    expect(place, promise, &["a", "b"], "it went on")?;
    nothing_beside("it went on")
}

fn jobs_are_apart<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::JobsAreApart;
    let (mine, theirs) = (place.sink(), place.sink());
    let neighbour = owner(NEIGHBOUR, 1)?;
    theirs.recover(&neighbour, None).map_err(Broken::failed("recover"))?;
    let mut transaction = theirs.begin(&neighbour).map_err(Broken::failed("begin"))?;
    write(&mut *transaction, &["theirs"])?;
    let staged = transaction.pre_commit().map_err(Broken::failed("pre_commit"))?;
    recover(&mine, 1, None)?;
    recover(&mine, 2, Some(&[]))?;
    commit(&theirs, &staged)?;
    expect(place, promise, &["theirs"], &format!("job {JOB} recovered between pre-commit and commit of job {NEIGHBOUR}"))
}

fn zombies_stay_invisible<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::ZombiesStayInvisible;
    let zombie = started(place)?;
    let mut late = begin(&zombie, 1, &["late"])?;
    let next = place.sink();
    recover(&next, 2, Some(&[]))?;
    let staged = pre_commit(&next, 2, &["a"])?;
    // It may notice, or not.
    let too_late = Outgoing { topic: "sink", key: None, value: Some(b"later"), headers: &[] };
    let _ = late.write(&too_late);
    let _ = late.pre_commit();
    expect(place, promise, &[], "the older instance went on after a newer one had recovered")?;
    commit(&next, &staged)?;
    expect(place, promise, &["a"], "the newer one committed")?;
    commit(&next, &pre_commit(&next, 2, &["b"])?)?;
    expect(place, promise, &["a", "b"], "the newer one went on")
}

fn newer_stays<P: Place>(place: &P) -> Result<(), Broken>
where
    P::Sink: TwoPhaseCommitSink,
{
    let promise = Promise::NewerStays;
    let first = started(place)?;
    let before = pre_commit(&first, 1, &["a"])?;
    // Two more take the job over, one after the other; the second of them is paused before it recovers.
    let (paused, next) = (place.sink(), place.sink());
    recover(&next, 3, Some(&before))?;
    let staged = pre_commit(&next, 3, &["b"])?;
    recover(&paused, 2, Some(&before))?;
    expect(place, promise, &["a"], "an older instance recovered after the newer one had pre-committed a record")?;
    commit(&next, &staged)?;
    expect(place, promise, &["a", "b"], "the newer one committed it")
}
