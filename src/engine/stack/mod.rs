//! The stack of a thread of this process, in words: for a task that has stalled.
//!
//! The thread stores addresses only (`interrupt`); whoever asked makes names and lines of them here, outside of any signal handler. Lines are
//! known where the program has them: `debug = "line-tables-only"` in a profile is enough. Names are known unless the program is stripped.

mod interrupt;

use std::{ffi::c_void, fmt, time::Duration};

/// A thread that is scheduled at all answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Frames that are told in a sentence, at most.
const TOLD: usize = 12;

/// Where the sources of this crate lay when it was compiled: so do the files of its functions begin.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

/// Of those, what only leads from a task's thread to the operators of the job.
const ENGINE: [&str; 3] = ["engine/", "stream/app.rs", "stream/operator.rs"];

/// A function that was called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Frame {
    /// Its name, or its address if it has none. With its path where only the table of symbols, or full debug information, tells; without one where
    /// the program knows lines and no more.
    name: String,
    /// The file of the place, if it is known.
    file: Option<String>,
    /// The line in it, if it is known.
    line: Option<u32>,
}

/// Functions, the innermost one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stack(Vec<Frame>);

impl Stack {
    /// That of the thread that the operating system knows by this number.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn of(thread: u64) -> Result<Self, String> {
        let mut frames = Vec::new();
        for address in interrupt::addresses(thread, PATIENCE)? {
            let before = frames.len();
            // It takes what it is given for the address that a call returns to, and looks at the byte before.
            backtrace::resolve((address + 1) as *mut c_void, |symbol| {
                // Without the hash at the end.
                let Some(name) = symbol.name().map(|name| format!("{name:#}")) else { return };
                let file = symbol.filename().map(|file| file.to_string_lossy().into_owned());
                frames.push(Frame { name, file, line: symbol.lineno() });
            });
            if frames.len() == before {
                frames.push(Frame { name: format!("{address:#x}"), ..Frame::default() });
            }
        }
        Ok(Self(frames))
    }

    /// The part of it that says what the task was doing: from the call that the job's code has made, to the engine that has called the job's code. Where
    /// there is no code of the job, what the engine was doing.
    pub(super) fn of_the_job(&self) -> Self {
        let Self(frames) = self;
        let outer = frames.iter().rposition(|frame| !frame.is_runtime());
        let outer = outer.or_else(|| frames.iter().position(Frame::is_start).map(|start| start.saturating_sub(1)));
        let end = outer.map_or(frames.len(), |outer| outer + 1);
        let inner = frames.iter().take(end).position(|frame| !frame.is_library()).unwrap_or(0);
        // Of what the code has called, the call itself.
        Self(frames.iter().take(end).skip(inner.saturating_sub(1)).cloned().collect())
    }
}

impl Frame {
    /// The crate of its function, and the path in it; none for what is not Rust.
    fn path(&self) -> Option<(&str, &str)> {
        // "<shop::Sum as sluicegate::stream::operator::KeyedProcess<…>>::process" belongs to shop.
        let path = self.name.trim_start_matches(['<', '&', '*', '(', '[']);
        let path = ["mut ", "const ", "dyn "].iter().fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
        path.split_once("::")
    }

    /// Whether it is of Rust's library, or of the system's.
    fn is_library(&self) -> bool {
        let of_rust = |file: &str| ["/library/core/", "/library/alloc/", "/library/std/"].iter().any(|part| file.contains(part));
        match &self.file {
            Some(file) => of_rust(file) || !file.ends_with(".rs"),
            None => self.path().is_none_or(|(of, _)| ["std", "core", "alloc"].contains(&of)),
        }
    }

    /// Whether it is in one of these places of this crate.
    fn is_in(&self, places: &[&str]) -> bool {
        if let Some(file) = &self.file {
            return file.strip_prefix(HERE).is_some_and(|file| places.iter().any(|place| file.starts_with(place)));
        }
        let module = |place: &&str| place.trim_end_matches(".rs").trim_end_matches('/').replace('/', "::");
        self.path().is_some_and(|(of, path)| of == "sluicegate" && places.iter().any(|place| path.starts_with(&module(place))))
    }

    /// Whether it only leads to the job's code.
    fn is_runtime(&self) -> bool {
        self.is_library() || self.is_in(&ENGINE)
    }

    /// Whether it has started the task.
    fn is_start(&self) -> bool {
        self.is_in(&["engine/attempt.rs"])
    }
}

/// The part of a path that is not the machine's: from the folder of the crate on.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.split(['/', '\\']).collect();
    let crate_folder = parts.iter().rposition(|part| *part == "src").map(|src| src.saturating_sub(1));
    let from = crate_folder.unwrap_or_else(|| parts.len().saturating_sub(2));
    parts.iter().skip(from).copied().collect::<Vec<_>>().join("/")
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Types that a function was made for are longer than all the rest, and no help in finding it.
        let name = if self.name.starts_with('<') { &self.name } else { self.name.split('<').next().unwrap_or(&self.name) };
        f.write_str(name)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({}:{line})", short(file)),
            (Some(file), None) => write!(f, " ({})", short(file)),
            (None, _) => Ok(()),
        }
    }
}

/// On one line: `inner (file:line) <- outer (file:line)`; `{:#}` leaves none out.
impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = if f.alternate() { usize::MAX } else { TOLD };
        for (index, frame) in self.0.iter().take(told).enumerate() {
            if index > 0 {
                f.write_str(" <- ")?;
            }
            write!(f, "{frame}")?;
        }
        match self.0.len().checked_sub(told) {
            Some(more) if more > 0 => write!(f, " <- {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[(&str, Option<String>)]) -> Stack {
        let frame = |(name, file): &(&str, Option<String>)| Frame {
            name: (*name).to_owned(),
            line: file.as_ref().map(|_| 7),
            file: file.clone(),
        };
        Stack(frames.iter().map(frame).collect())
    }

    #[test]
    fn what_is_told_begins_with_the_call_of_the_job_and_ends_with_its_operator() {
        let rust = |file: &str| Some(format!("/rustc/59807616/library/{file}"));
        let here = |file: &str| Some(format!("{HERE}{file}"));
        let shop = |file: &str| Some(format!("/home/me/shop/src/{file}"));
        let whole = stack(&[
            ("clock_nanosleep", None),
            ("sleep", rust("std/src/sys/thread/unix.rs")),
            ("sleep", rust("std/src/thread/functions.rs")),
            ("lookup", shop("rates.rs")),
            ("sum<core::slice::iter::Iter<u64>, u64>", rust("core/src/iter/traits/iterator.rs")),
            ("process", shop("main.rs")),
            ("collect<u64, u64, shop::Convert>", here("stream/operator.rs")),
            ("run<u64, u64>", here("engine/keyed_task.rs")),
            ("{closure#0}<u64, u64>", here("stream/app.rs")),
            ("{closure#9}", here("engine/attempt.rs")),
            ("catch_unwind", rust("std/src/panicking.rs")),
            ("start_thread", Some("./nptl/pthread_create.c".to_owned())),
        ]);
        assert_eq!(
            whole.of_the_job().to_string(),
            "sleep (std/src/thread/functions.rs:7) <- lookup (shop/src/rates.rs:7) <- sum (core/src/iter/traits/iterator.rs:7) <- \
             process (shop/src/main.rs:7)"
        );
        assert!(whole.to_string().ends_with("start_thread (nptl/pthread_create.c:7)"), "{whole}");
    }

    #[test]
    fn a_program_without_debug_information_is_told_by_the_paths_of_its_functions() {
        let whole = stack(&[
            ("std::thread::functions::sleep", None),
            ("<shop::Convert as sluicegate::stream::operator::KeyedProcess<u64,u64>>::process", None),
            ("<sluicegate::stream::operator::KeyedCollector<P,K,T,W> as sluicegate::engine::chain::Collector<T>>::collect", None),
            ("sluicegate::engine::keyed_task::run", None),
            ("start_thread", None),
        ]);
        assert_eq!(
            whole.of_the_job().to_string(),
            "std::thread::functions::sleep <- <shop::Convert as sluicegate::stream::operator::KeyedProcess<u64,u64>>::process"
        );
    }

    #[test]
    fn a_task_that_is_not_in_the_jobs_code_is_told_with_what_the_engine_does() {
        let whole = stack(&[
            ("read", None),
            ("sluicegate::engine::source::run", None),
            ("sluicegate::engine::attempt::Attempt::start::{{closure}}", None),
            ("start_thread", None),
        ]);
        assert_eq!(whole.of_the_job().to_string(), "read <- sluicegate::engine::source::run");
        let foreign = stack(&[("read", None), ("0x7f00", None)]);
        assert_eq!(foreign.of_the_job(), foreign);
    }

    #[test]
    fn a_deep_stack_is_cut_and_says_so_unless_all_of_it_is_wanted() {
        let frame = |_| Frame { name: "fibonacci".to_owned(), ..Frame::default() };
        let deep = Stack((0..TOLD + 7).map(frame).collect());
        let told = deep.to_string();
        assert!(told.ends_with("fibonacci <- 7 more") && told.matches("fibonacci").count() == TOLD, "{told}");
        assert_eq!(format!("{deep:#}").matches("fibonacci").count(), TOLD + 7);
    }

    #[test]
    fn a_thread_that_is_busy_is_found_in_the_function_that_it_is_busy_with() {
        use std::{
            fs,
            sync::{
                Arc,
                atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
            },
            thread,
        };

        #[inline(never)]
        fn in_search_of_the_end(end: &AtomicBool, looks: &AtomicU64) {
            while !end.load(SeqCst) {
                looks.fetch_add(1, SeqCst);
            }
        }

        let (end, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, counted) = (Arc::clone(&end), Arc::clone(&looks));
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let link = fs::read_link("/proc/thread-self").unwrap();
            tell.send(link.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap()).unwrap();
            in_search_of_the_end(&seen, &counted);
        });
        let number = told.recv().unwrap();
        while looks.load(SeqCst) == 0 {
            thread::yield_now();
        }
        let stack = Stack::of(number).unwrap();
        // it goes on
        let before = looks.load(SeqCst);
        while looks.load(SeqCst) == before {
            thread::yield_now();
        }
        end.store(true, SeqCst);
        thread.join().unwrap();
        let told = stack.of_the_job().to_string();
        assert!(
            told.contains("in_search_of_the_end (") && told.contains("src/engine/stack/mod.rs:"),
            "{told}; all of it: {stack:#}"
        );
        // nothing of the handler is in it
        assert!(!format!("{stack:#}").contains("interrupt"), "{stack:#}");
    }
}
