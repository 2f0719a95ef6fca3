//! Processes: sets of fibers that are killed or paused together, at a request of theirs that the seed has chosen.

use super::world::{Fiber, FiberId, World};
use std::{collections::BTreeSet, time::Duration};

/// One process of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProcessId(pub(super) u64);

/// What happens to a process at one of its next requests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// As `kill -9`.
    Kill,
    /// As SIGSTOP, and SIGCONT so much later.
    Pause(Duration),
}

/// What is to become of a process.
#[derive(Default)]
pub(super) struct Process {
    fate: Option<(u32, Fate)>,
    pub(super) paused_until: Duration,
}

impl World {
    /// A process without fibers.
    pub(super) fn add_process(&self) -> ProcessId {
        let mut state = self.state();
        let id = ProcessId(state.processes.len() as u64 + 1);
        state.processes.insert(id, Process::default());
        id
    }

    /// Whether any fiber of the process is left.
    pub(super) fn is_alive(&self, process: ProcessId) -> bool {
        self.state().fibers.values().any(|fiber| fiber.process == Some(process) && !fiber.killed)
    }

    /// Kills a process.
    pub(super) fn kill(&self, process: ProcessId) {
        let mut state = self.state();
        let now = state.now;
        let of = |(id, fiber): (&FiberId, &Fiber)| (fiber.process == Some(process)).then_some(*id);
        let fibers: BTreeSet<FiberId> = state.fibers.iter().filter_map(of).collect();
        for fiber in fibers {
            if let Some(fiber) = state.fibers.get_mut(&fiber) {
                fiber.killed = true;
            }
            if fiber != self.current() {
                state.schedule(fiber, now);
            }
        }
    }

    /// Decides what happens to a process at its `requests`-th request from now.
    pub(super) fn doom(&self, process: ProcessId, requests: u32, fate: Fate) {
        if let Some(process) = self.state().processes.get_mut(&process) {
            process.fate = Some((requests, fate));
        }
    }

    /// The running fiber sends a request: the moment for what its process is doomed to.
    pub(super) fn request(&self) {
        let Some(process) = self.process() else { return };
        let fate = {
            let mut state = self.state();
            let Some(doomed) = state.processes.get_mut(&process) else { return };
            match &mut doomed.fate {
                Some((0, fate)) => {
                    let fate = *fate;
                    doomed.fate = None;
                    fate
                }
                Some((requests, _)) => {
                    *requests -= 1;
                    return;
                }
                None => return,
            }
        };
        self.record(format_args!("process {}: {fate:?}", process.0));
        match fate {
            Fate::Kill => {
                self.count("kills at a request");
                self.kill(process);
            }
            Fate::Pause(time) => {
                self.count("pauses");
                let mut state = self.state();
                let until = state.now + time;
                if let Some(process) = state.processes.get_mut(&process) {
                    process.paused_until = until;
                }
            }
        }
        self.sleep(Duration::ZERO);
    }
}
