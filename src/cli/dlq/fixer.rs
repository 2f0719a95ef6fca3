//! A program of the user's that mends dead letters: it is started once, gets each as a line of JSON, and answers each with a line of JSON.
//!
//! ```text
//! letter ──► writer thread ──► stdin of the program
//!                              stdout of the program ──► reader thread ──► answer, waited for no longer than ANSWER
//! ```
//!
//! Two threads, because a program that does not read, or does not write, would otherwise hold us in a call without an end. Answers are taken
//! one at a time, so a line that is not the answer to the letter before it is noticed.

use super::letter::Letter;
use crate::protocol::Failure;
use base64::{Engine, prelude::BASE64_STANDARD};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Deserializer};
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longest wait for one answer, and for the end of the program: a minute is long for mending one record, and short for a person who waits.
const ANSWER: Duration = Duration::from_secs(60);

/// Longest answer, in bytes. No broker takes a record near that.
const LONGEST: u64 = 256 << 20;

/// What the program says of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Replay it with this value.
    Value(Vec<u8>),
    /// Leave it alone.
    Leave,
}

/// The program while it runs. Killed when dropped.
pub(super) struct Fixer {
    script: PathBuf,
    child: Child,
    letters: Option<Sender<Vec<u8>>>,
    answers: Receiver<Result<String, String>>,
    patience: Duration,
}

/// An answer as it is written. Other fields are passed over, so that a program can give back what it got, mended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    partition: Option<i32>,
    offset: Option<i64>,
    #[serde(default, deserialize_with = "said")]
    value: Option<Option<String>>,
    value_base64: Option<String>,
}

/// Tells null from absent.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

impl Fixer {
    /// Starts the program; its standard error is ours.
    ///
    /// # Errors
    ///
    /// Fatal if it is not there or cannot be started.
    pub(super) fn start(script: &Path) -> Result<Self, Failure> {
        Self::start_with(script, ANSWER)
    }

    fn start_with(script: &Path, patience: Duration) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::fatal(format!("--fix {}: {error}", script.display()));
        // Not by its name alone, which would be looked for in PATH.
        let whole = script.canonicalize().map_err(failed)?;
        let mut command = Command::new(whole);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
            failed(std::io::Error::new(
                error.kind(),
                format!("{error}; wanted is a program, or a script that is executable and names its interpreter (#!)"),
            ))
        })?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::fatal(format!("--fix {}: no pipes to it", script.display())));
        };
        let (letters, to_write) = bounded::<Vec<u8>>(1);
        thread::spawn(move || {
            // A program that has closed its input is found out by the answer that does not come.
            while let Ok(line) = to_write.recv()
                && stdin.write_all(&line).and_then(|()| stdin.flush()).is_ok()
            {}
        });
        let (answered, answers) = bounded(1);
        thread::spawn(move || read_lines(stdout, &answered));
        Ok(Self { script: script.to_owned(), child, letters: Some(letters), answers, patience })
    }

    /// What the program makes of `letter`.
    ///
    /// # Errors
    ///
    /// Fatal, naming the letter, if it has ended, does not answer in time, or its answer is none.
    pub(super) fn ask(&mut self, letter: &Letter) -> Result<Verdict, Failure> {
        let place = letter.place;
        let script = self.script.display().to_string();
        let wrong = |why: String| Failure::fatal(format!("--fix {script}, dead letter {place}: {why}"));
        let mut line = letter.shown(None, true).line()?.into_bytes();
        line.push(b'\n');
        if self.letters.as_ref().is_none_or(|letters| letters.send_timeout(line, self.patience).is_err()) {
            return Err(wrong(format!("the program takes no more letters ({})", self.ending())));
        }
        match self.answers.recv_timeout(self.patience) {
            Ok(Ok(answer)) => verdict(&answer, letter).map_err(wrong),
            Ok(Err(why)) => Err(wrong(why)),
            Err(RecvTimeoutError::Disconnected) => {
                Err(wrong(format!("the program has ended without an answer ({})", self.ending())))
            }
            Err(RecvTimeoutError::Timeout) => Err(wrong(format!(
                "no answer within {:?}; does the program flush its output after each line (jq --unbuffered, python3 -u)?",
                self.patience
            ))),
        }
    }

    /// Closes the program's input and waits for its end.
    ///
    /// # Errors
    ///
    /// Fatal if it says more than it was asked, does not end in time, or ends with another exit code than 0.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let script = self.script.display().to_string();
        let wrong = |why: String| Failure::fatal(format!("--fix {script}, behind the last dead letter: {why}"));
        self.letters = None;
        match self.answers.recv_timeout(self.patience) {
            Ok(Ok(answer)) => return Err(wrong(format!("one more answer than letters: {}", shortened(&answer)))),
            Ok(Err(why)) => return Err(wrong(why)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(wrong(format!("the program does not end within {:?} after the end of its input", self.patience)));
            }
            Err(RecvTimeoutError::Disconnected) => {}
        }
        let until = Instant::now() + self.patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(wrong(format!("the program has ended with {status}"))),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    return Err(wrong(format!("the program has closed its output, but does not end within {:?}", self.patience)));
                }
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
    }

    /// How it has ended, for a message; a moment is given for that, because its output closes before it is gone.
    fn ending(&mut self) -> String {
        for _ in 0..100 {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Err(error) => return error.to_string(),
            }
        }
        "it runs still".to_owned()
    }
}

impl Drop for Fixer {
    fn drop(&mut self) {
        // It may have ended; nothing more can be done in a drop if not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: ChildStdout, answered: &Sender<Result<String, String>>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        let answer = match read {
            Ok(0) => return,
            Ok(_) if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST => {
                Err(format!("an answer of more than {LONGEST} bytes"))
            }
            Ok(_) => String::from_utf8(line).map_err(|_| "the answer is no UTF-8; bytes go into \"valueBase64\"".to_owned()),
            Err(error) => Err(format!("reading the answer: {error}")),
        };
        let last = answer.is_err();
        if answered.send(answer).is_err() || last {
            return;
        }
    }
}

fn verdict(line: &str, letter: &Letter) -> Result<Verdict, String> {
    const WANTED: &str =
        r#"wanted is one line: {"value":"text"}, {"valueBase64":"..."}, or {"value":null} to leave the letter alone"#;
    let answer: Answer = serde_json::from_str(line)
        .map_err(|error| format!("the answer is not understood ({error}): {}; {WANTED}", shortened(line)))?;
    let place = letter.place;
    if answer.partition.is_some_and(|partition| partition != place.partition)
        || answer.offset.is_some_and(|offset| offset != place.offset)
    {
        let named = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (partition, offset) = (named(answer.partition.map(i64::from)), named(answer.offset));
        return Err(format!(
            "the answer is that to letter {partition}:{offset}; each letter is to be answered before the next one comes"
        ));
    }
    match (answer.value, answer.value_base64) {
        (Some(Some(text)), None) => Ok(Verdict::Value(text.into_bytes())),
        (Some(None), None) => Ok(Verdict::Leave),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64).map(Verdict::Value).map_err(|error| format!("valueBase64 is no base64: {error}"))
        }
        (Some(_), Some(_)) => Err(format!("the answer has value and valueBase64; {WANTED}")),
        (None, None) => Err(format!("the answer has no value: {}; {WANTED}", shortened(line))),
    }
}

fn shortened(line: &str) -> String {
    let short: String = line.trim_end().chars().take(120).collect();
    super::super::screen::one_line(&short)
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        sync::{Mutex, PoisonError},
    };

    /// Starts a shell script. One at a time: a file cannot be run while the start of another child holds it open for writing.
    fn started(folder: &Path, lines: &str, patience: Duration) -> Fixer {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = folder.join("fix.sh");
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Fixer::start_with(&path, patience).unwrap()
    }

    /// What a script makes of three letters, and of their end.
    fn asked(lines: &str) -> (Vec<Result<Verdict, String>>, Result<(), String>) {
        let folder = tempfile::tempdir().unwrap();
        let mut fixer = started(folder.path(), lines, Duration::from_secs(60));
        let asked = (0..3).map(|_| fixer.ask(&letter()).map_err(|failure| failure.message)).collect();
        (asked, fixer.finish().map_err(|failure| failure.message))
    }

    #[test]
    fn a_letter_that_is_given_back_mended_is_mended() {
        let (answers, end) = asked("exec sed -u s/4.999/4.99/g");
        assert_eq!(answers, vec![Ok(Verdict::Value(b"{\"amount\":4.99}".to_vec())); 3]);
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn the_program_runs_once_and_may_leave_letters_alone() {
        let (answers, end) = asked(
            "n=0; while read -r line; do n=$((n+1)); test $n = 2 && echo '{\"value\":null}' || echo '{\"value\":\"'$n'\"}'; done",
        );
        assert_eq!(answers, [Ok(Verdict::Value(b"1".to_vec())), Ok(Verdict::Leave), Ok(Verdict::Value(b"3".to_vec()))]);
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn a_program_that_dies_is_told_with_the_letter_and_its_exit_code() {
        let (answers, _) = asked("read -r line; echo '{\"value\":\"1\"}'; exit 7");
        assert_eq!(answers[0], Ok(Verdict::Value(b"1".to_vec())));
        let said = answers[1].clone().unwrap_err();
        assert!(said.contains("1:812") && said.contains("exit status: 7"), "{said}");
    }

    #[test]
    fn a_program_that_ends_badly_behind_the_last_letter_is_told() {
        let (answers, end) = asked("for i in 1 2 3; do read -r line; echo '{\"value\":\"1\"}'; done; exit 3");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert!(end.clone().unwrap_err().contains("exit status: 3"), "{end:?}");
        let (_, end) = asked("for i in 1 2 3; do read -r line; echo '{\"value\":\"1\"}'; done; echo more");
        assert!(end.clone().unwrap_err().contains("one more answer than letters: more"), "{end:?}");
    }

    #[test]
    fn a_program_that_keeps_silent_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut fixer = started(folder.path(), "exec sleep 1000", Duration::from_millis(200));
        let said = fixer.ask(&letter()).unwrap_err().message;
        assert!(said.contains("no answer within 200ms") && said.contains("--unbuffered"), "{said}");
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let absent = Fixer::start(&folder.path().join("absent")).err().unwrap().message;
        assert!(absent.contains("--fix") && absent.contains("absent"), "{absent}");
        let text = folder.path().join("text");
        fs::write(&text, "no program").unwrap();
        let said = Fixer::start(&text).err().unwrap().message;
        assert!(said.contains("executable"), "{said}");
    }

    #[test]
    fn only_an_answer_is_an_answer() {
        let verdict = |line: &str| super::verdict(line, &letter());
        assert_eq!(verdict(r#"{"valueBase64":"/wAB","more":1}"#), Ok(Verdict::Value(vec![0xff, 0, 1])));
        assert_eq!(verdict(r#"{"value":null,"partition":1,"offset":812}"#), Ok(Verdict::Leave));
        assert_eq!(verdict(r#"{"value":""}"#), Ok(Verdict::Value(Vec::new())));
        for (wrong, why) in [
            ("mended", "not understood"),
            ("", "not understood"),
            ("[]", "not understood"),
            (r#"{"value":5}"#, "not understood"),
            ("{}", "has no value"),
            (r#"{"value":"a","valueBase64":"YQ=="}"#, "value and valueBase64"),
            (r#"{"valueBase64":"?"}"#, "no base64"),
            (r#"{"value":"a","offset":813}"#, "letter ?:813"),
        ] {
            let said = verdict(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
