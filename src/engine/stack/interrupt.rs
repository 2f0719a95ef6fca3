//! The only unsafe code of this room: a thread of this process is interrupted by a signal, and its handler stores where it is.
//!
//! ```text
//!   who asks                                   the thread that is asked
//!   FLOW = (thread, asked)
//!   tgkill(thread, signal) ──────────────────► handler: FLOW (thread, asked) -> (thread, storing), else it does nothing
//!                                                 unwinds its own stack, stores addresses into FRAMES
//!   waits for (thread, stored), or gives up ◄──── FLOW = (thread, stored)
//! ```
//!
//! **What the handler does is safe in a handler.** It calls nothing that allocates or locks: it loads and stores atomics (all of them statics,
//! lock-free), asks the kernel for its thread's number, and walks its stack with `_Unwind_Backtrace`, which keeps what it knows of a frame on the stack.
//! To find the tables of a function, the unwinder of glibc 2.35 and later asks `_dl_find_object`, which is made for this and takes no lock; an
//! older one goes through `dl_iterate_phdr`, whose lock the same thread may take again. What the unwinder does once for the process was done
//! before the first signal is sent. `errno` is put back. A panic would end the process (`extern "C"`), and nothing here panics.
//!
//! **Should it get stuck all the same** (the thread was interrupted within the unwinder of another library, or its tables are wrong), this is
//! what is lost: the thread, of an attempt that has failed. Nobody waits for a handler without a deadline, no lock is held while it runs, and a handler
//! that comes too late finds that nobody asks *it*, because thread and step are one word, and does nothing. While one is stuck, nobody
//! else is asked: the frames are its.
//!
//! **The stack that it runs on** is the thread's own: 5 KB of it (measured with AVX-512), of which the kernel takes 3.6 to save the registers. A
//! task has 2 MiB, and one at the end of these would be about to die anyway. The other one that Rust gives its threads, for the message
//! about an overflow, has 8 KiB, or just what the kernel needs where that is more: too little.
//!
//! **Other code** sees system calls that were interrupted, which the flag `SA_RESTART` and the loops of Rust's library go on with; and one
//! real-time signal that is not free any more. One that somebody else has a handler for is never taken.
#![allow(unsafe_code)]

use libc::{c_int, c_void};
use std::{
    io, mem, ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

/// Frames that are stored, at most.
const DEPTH: usize = 128;

/// From one look at whether there is an answer to the next.
const LOOK: Duration = Duration::from_millis(1);

/// The steps of a question; [`FLOW`] has one in its two lowest bits, and the thread that is asked above them.
const NOTHING: u64 = 0;
const ASKED: u64 = 1;
const STORING: u64 = 2;
const STORED: u64 = 3;

/// Who is asked, and how far the answer is.
static FLOW: AtomicU64 = AtomicU64::new(NOTHING);
/// Instruction addresses, from the innermost frame on.
static FRAMES: [AtomicUsize; DEPTH] = [const { AtomicUsize::new(0) }; DEPTH];
/// How many of them are stored.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// One question at a time.
static ASKING: Mutex<()> = Mutex::new(());

fn flow(thread: u64, step: u64) -> u64 {
    (thread << 2) | step
}

/// Where the thread is that the operating system knows by this number: the instruction that it was interrupted at, then, for each
/// function that has called the one before it, the last byte of the call. It goes on afterwards.
///
/// # Errors
/// Why there is no answer: the thread is gone, blocks signals, or sits in the kernel where signals wait.
pub(super) fn addresses(thread: u64, patience: Duration) -> Result<Vec<usize>, String> {
    let _one_at_a_time = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let signal = signal()?;
    if FLOW.load(Acquire) & STORED == STORING {
        return Err("another thread was asked for its stack, and is stuck in the answer".to_owned());
    }
    FLOW.store(flow(thread, ASKED), Release);
    if let Err(why) = send(signal, thread) {
        FLOW.store(NOTHING, Release);
        return Err(format!("the thread cannot be asked for its stack: {why}"));
    }
    let stored = || FLOW.load(Acquire) == flow(thread, STORED);
    wait(patience, stored);
    if FLOW.compare_exchange(flow(thread, ASKED), NOTHING, AcqRel, Acquire).is_ok() {
        return Err(format!(
            "the thread was asked for its stack, and has not answered within {patience:?}: it blocks signals, or waits in the kernel where they wait, too"
        ));
    }
    wait(patience, stored);
    if !stored() {
        return Err(format!("the thread was asked for its stack, and is stuck in the answer since {patience:?}"));
    }
    let addresses = FRAMES.iter().take(COUNT.load(Relaxed)).map(|frame| frame.load(Relaxed));
    // All but the innermost are where a call returns to, which may be the next function's.
    let addresses = addresses.enumerate().map(|(frame, address)| address - usize::from(frame > 0)).collect();
    FLOW.store(NOTHING, Release);
    Ok(addresses)
}

fn wait(patience: Duration, over: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !over() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
}

fn send(signal: c_int, thread: u64) -> io::Result<()> {
    // SAFETY: numbers only. The signal has our handler, whichever thread of this process the number is of by now; a number of no thread is
    // an error.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The signal that has our handler: the last real-time signal that nobody has one for.
fn signal() -> Result<c_int, String> {
    static OURS: OnceLock<Result<c_int, String>> = OnceLock::new();
    OURS.get_or_init(|| {
        // What the unwinder does once, not in a handler.
        backtrace::trace(|_| true);
        let taken = || "no real-time signal is free to ask threads for their stacks by".to_owned();
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(|signal| take(*signal)).ok_or_else(taken)
    })
    .clone()
}

/// Whether `signal` has our handler now.
fn take(signal: c_int) -> bool {
    // SAFETY: all bits zero are a valid sigaction on Linux: no handler, no flags, an empty mask. Both live for the calls. The handler
    // has the signature that SA_SIGINFO asks for, and keeps the promises at the top of this file.
    unsafe {
        let mut before: libc::sigaction = mem::zeroed();
        if libc::sigaction(signal, ptr::null(), &raw mut before) != 0 || before.sa_sigaction != libc::SIG_DFL {
            return false;
        }
        let mut ours: libc::sigaction = mem::zeroed();
        ours.sa_sigaction = answer as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        if libc::sigaction(signal, &raw const ours, &raw mut before) != 0 {
            return false;
        }
        let free = before.sa_sigaction == libc::SIG_DFL;
        if !free {
            // Somebody was quicker: it is his.
            libc::sigaction(signal, &raw const before, ptr::null_mut());
        }
        free
    }
}

/// The handler.
extern "C" fn answer(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the C library gives each thread an errno that lives as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: see above; it is an integer that only this thread uses.
    let before = unsafe { *errno };
    // SAFETY: takes nothing, gives a number.
    let thread = u64::try_from(unsafe { libc::syscall(libc::SYS_gettid) }).unwrap_or(0);
    if FLOW.compare_exchange(flow(thread, ASKED), flow(thread, STORING), AcqRel, Acquire).is_ok() {
        // SAFETY: with SA_SIGINFO the third argument is the ucontext_t of the interrupted thread, which lives until the handler returns.
        store(unsafe { interrupted_at(context.cast::<libc::ucontext_t>()) });
        FLOW.store(flow(thread, STORED), Release);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Stores the frames from the one that was interrupted on.
fn store(interrupted: usize) {
    let (mut count, mut steps, mut reached) = (0, 0, false);
    let mut put = |address: usize| {
        if let Some(frame) = FRAMES.get(count) {
            frame.store(address, Relaxed);
            count += 1;
        }
        count < DEPTH
    };
    put(interrupted);
    // SAFETY: "unsynchronized" is about the libraries of other systems; the unwinder of this one may be used by any number of threads at
    // once. The closure does not unwind.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            let address = frame.ip() as usize;
            steps += 1;
            if reached {
                return address != 0 && put(address);
            }
            // Before it come the handler's own frames.
            reached = address == interrupted;
            steps < DEPTH
        });
    }
    COUNT.store(count, Relaxed);
}

/// # Safety
/// `context` is that of a signal handler which has not returned.
#[cfg(target_arch = "x86_64")]
unsafe fn interrupted_at(context: *const libc::ucontext_t) -> usize {
    // SAFETY: the caller's promise.
    let context = unsafe { &*context };
    context.uc_mcontext.gregs.get(libc::REG_RIP as usize).map_or(0, |register| *register as usize)
}

/// # Safety
/// `context` is that of a signal handler which has not returned.
#[cfg(target_arch = "aarch64")]
unsafe fn interrupted_at(context: *const libc::ucontext_t) -> usize {
    // SAFETY: the caller's promise.
    let context = unsafe { &*context };
    context.uc_mcontext.pc as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::channel,
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A thread that does `work` until it is dropped, and its number.
    struct Busy {
        number: u64,
        end: Arc<AtomicBool>,
        thread: Option<thread::JoinHandle<()>>,
    }

    impl Busy {
        fn with(work: impl Fn(&AtomicBool) + Send + 'static) -> Self {
            let (tell, told) = channel();
            let end = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&end);
            let thread = thread::spawn(move || {
                // SAFETY: takes nothing, gives a number.
                tell.send(unsafe { libc::syscall(libc::SYS_gettid) }).unwrap();
                work(&seen);
            });
            Self { number: u64::try_from(told.recv().unwrap()).unwrap(), end, thread: Some(thread) }
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            self.end.store(true, SeqCst);
            self.thread.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn a_thread_in_the_midst_of_allocating_answers_each_time_and_goes_on() {
        let busy = Busy::with(|end| {
            let mut kept = Vec::new();
            while !end.load(SeqCst) {
                kept.push(vec![1_u8; 1 + kept.len() % 5_000]);
                if kept.len() > 500 {
                    kept.clear();
                }
            }
        });
        for question in 0..1_000 {
            let addresses = addresses(busy.number, PATIENCE).unwrap();
            assert!(addresses.len() > 3, "question {question}: {addresses:?}");
        }
    }

    #[test]
    fn a_thread_that_blocks_signals_is_said_not_to_answer_and_its_late_answer_is_nobody_elses() {
        let (let_go, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (seen, done) = (Arc::clone(&let_go), Arc::clone(&go));
        let block = |how: c_int| {
            // SAFETY: the set lives for the calls, and is filled before it is used.
            unsafe {
                let mut all: libc::sigset_t = mem::zeroed();
                libc::sigfillset(&raw mut all);
                assert_eq!(libc::pthread_sigmask(how, &raw const all, ptr::null_mut()), 0);
            }
        };
        let ready = Arc::new(AtomicBool::new(false));
        let tell_ready = Arc::clone(&ready);
        let deaf = Busy::with(move |end| {
            block(libc::SIG_BLOCK);
            tell_ready.store(true, SeqCst);
            while !seen.load(SeqCst) {
                thread::yield_now();
            }
            block(libc::SIG_UNBLOCK);
            done.store(true, SeqCst);
            while !end.load(SeqCst) {
                thread::yield_now();
            }
        });
        wait(PATIENCE, || ready.load(SeqCst));
        let why = addresses(deaf.number, Duration::from_millis(30)).unwrap_err();
        assert!(why.contains("has not answered within 30ms"), "{why}");
        // when the signal gets to it, nobody waits
        let_go.store(true, SeqCst);
        wait(PATIENCE, || go.load(SeqCst));
        assert_ne!(FLOW.load(SeqCst), flow(deaf.number, STORED));
        assert!(addresses(deaf.number, PATIENCE).unwrap().len() > 3);
    }

    #[test]
    fn a_thread_that_is_not_there_is_an_error() {
        let number = Busy::with(|_| ()).number;
        let gone = || addresses(number, PATIENCE).err().is_some_and(|why| why.contains("cannot be asked"));
        wait(PATIENCE, gone);
        assert!(gone());
    }
}
