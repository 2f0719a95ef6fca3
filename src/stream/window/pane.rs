//! What is kept of one window of one key, and where.

use super::Window;
use crate::engine::{Halt, Timestamp};
use crate::protocol::Failure;
use crate::state::{Key, StateDescriptor, StateKey, StateKind, StateValue, Table};
use crate::stream::{declare::Declare, operator::OperatorContext};
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, rc::Rc};

/// One window of one key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pane<H, S> {
    /// Nothing before the first record and after a purge.
    pub(super) contents: Option<H>,
    /// What the trigger remembers.
    pub(super) trigger: S,
}

impl<H, S: Default> Default for Pane<H, S> {
    fn default() -> Self {
        Self { contents: None, trigger: S::default() }
    }
}

impl<H: StateValue, S: StateValue> StateValue for Pane<H, S> {
    fn heap_bytes(&self) -> usize {
        self.contents.as_ref().map_or(0, StateValue::heap_bytes) + self.trigger.heap_bytes()
    }
}

/// An open session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenSession<P> {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) pane: P,
}

impl<P> OpenSession<P> {
    pub(super) fn window(&self) -> Window {
        Window { start: self.start, end: self.end }
    }
}

/// The open sessions of a key, by their start. There are few of them, and none touches another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sessions<P>(pub(super) Vec<OpenSession<P>>);

impl<P: StateValue> StateValue for Sessions<P> {
    fn heap_bytes(&self) -> usize {
        let panes = self.0.iter().map(|session| session.pane.heap_bytes());
        self.0.capacity() * size_of::<OpenSession<P>>() + panes.sum::<usize>()
    }
}

/// The panes of a task.
pub(super) enum Panes<K, P> {
    /// Windows that are given by their start: (start, key), so that a window's keys lie together.
    Fixed(Rc<RefCell<Table<(Timestamp, K), P>>>),
    /// Windows that grow: those of a key are one entry.
    Merging(Rc<RefCell<Table<K, Sessions<P>>>>),
}

impl<K: StateKey, P: StateValue + Default> Panes<K, P> {
    pub(super) fn declare(declare: &mut Declare, merging: bool) -> StateDescriptor {
        match merging {
            true => declare.descriptor::<K, Sessions<P>>(StateKind::Value, "sessions"),
            false => declare.descriptor::<(Timestamp, K), P>(StateKind::Value, "panes"),
        }
    }

    pub(super) fn open(context: &mut OperatorContext<'_, '_>, state: &StateDescriptor, merging: bool) -> Result<Self, Failure> {
        Ok(match merging {
            true => Self::Merging(context.table(state)?),
            false => Self::Fixed(context.table(state)?),
        })
    }

    /// Changes the pane of a window, which is made where it is none of a growing kind.
    pub(super) fn upsert<R>(&self, key: &Key<K>, window: Window, change: impl FnOnce(&mut P) -> R) -> Result<Option<R>, Halt> {
        match self {
            Self::Fixed(table) => Ok(Some(change(table.borrow_mut().upsert(&slot(key, window), P::default)?))),
            Self::Merging(_) => self.update(key, window, change),
        }
    }

    /// Changes the pane of a window, where there is one.
    pub(super) fn update<R>(&self, key: &Key<K>, window: Window, change: impl FnOnce(&mut P) -> R) -> Result<Option<R>, Halt> {
        match self {
            Self::Fixed(table) => Ok(table.borrow_mut().get_mut(&slot(key, window))?.map(change)),
            Self::Merging(table) => {
                let mut table = table.borrow_mut();
                let Some(sessions) = table.get_mut(key)? else { return Ok(None) };
                let session = sessions.0.iter_mut().find(|session| session.window() == window);
                Ok(session.map(|session| change(&mut session.pane)))
            }
        }
    }

    /// Takes the pane of a window away.
    pub(super) fn remove(&self, key: &Key<K>, window: Window) -> Result<(), Halt> {
        match self {
            Self::Fixed(table) => _ = table.borrow_mut().remove(&slot(key, window))?,
            Self::Merging(table) => {
                let mut table = table.borrow_mut();
                let Some(sessions) = table.get_mut(key)? else { return Ok(()) };
                sessions.0.retain(|session| session.window() != window);
                if sessions.0.is_empty() {
                    table.remove(key)?;
                }
            }
        }
        Ok(())
    }

    /// Makes room for `window` among the sessions of `key`: it grows by those that it touches, which are given out by their start. Nothing
    /// is changed, and none given out, where one session has it in it.
    pub(super) fn absorb(&self, key: &Key<K>, window: Window) -> Result<(Window, Vec<OpenSession<P>>), Halt> {
        let Self::Merging(table) = self else { return Ok((window, Vec::new())) };
        let mut table = table.borrow_mut();
        let sessions = table.upsert(key, || Sessions(Vec::new()))?;
        let touched = |session: &OpenSession<P>| session.window().touches(&window);
        let cover = sessions.0.iter().filter(|s| touched(s)).fold(window, |cover, session| cover.cover(&session.window()));
        if sessions.0.iter().any(|session| session.window() == cover) {
            return Ok((cover, Vec::new()));
        }
        let (absorbed, mut apart): (Vec<_>, Vec<_>) = std::mem::take(&mut sessions.0).into_iter().partition(touched);
        let place = apart.partition_point(|session| session.start < cover.start);
        apart.insert(place, OpenSession { start: cover.start, end: cover.end, pane: P::default() });
        sessions.0 = apart;
        Ok((cover, absorbed))
    }
}

/// A window is known by its start: all of an operator's have one size, or there is one only.
fn slot<K: StateKey>(key: &Key<K>, window: Window) -> Key<(Timestamp, K)> {
    Key::under(key.hash, (window.start, key.value.clone()))
}
