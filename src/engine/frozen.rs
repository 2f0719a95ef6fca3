//! Frozen state that a task still has to encode, shared by its loop and its ports.
//!
//! A port that waits for room encodes meanwhile: otherwise a checkpoint could wait for a task that waits, through the tasks
//! behind it, for that checkpoint.

use super::halt::Halt;
use crate::protocol::{CheckpointId, Failure};
use crate::state::AnyTable;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Entries encoded between two batches, per table.
const SLICE: usize = 512;

/// The tables of one task.
#[derive(Clone, Default)]
pub struct Tables(Rc<Inner>);

#[derive(Default)]
struct Inner {
    tables: RefCell<Vec<Rc<RefCell<dyn AnyTable>>>>,
    frozen: Cell<bool>,
}

impl Tables {
    /// One more table.
    pub fn add(&self, table: Rc<RefCell<dyn AnyTable>>) {
        self.0.tables.borrow_mut().push(table);
    }

    /// Freezes all tables at a barrier.
    pub fn freeze(&self, checkpoint: CheckpointId) -> Result<(), Failure> {
        self.0.frozen.set(true);
        self.0.tables.borrow().iter().try_for_each(|table| table.borrow_mut().freeze(checkpoint))
    }

    /// Whether frozen state waits to be encoded.
    pub fn has_frozen(&self) -> bool {
        self.0.frozen.get()
    }

    /// Encodes a slice of what is frozen. A table that is in use further up the stack is left for the next call.
    pub fn encode_slice(&self) -> Result<(), Halt> {
        if !self.has_frozen() {
            return Ok(());
        }
        let mut all = true;
        for table in self.0.tables.borrow().iter() {
            all &= match table.try_borrow_mut() {
                Ok(mut table) => table.encode_slice(SLICE)?,
                Err(_) => false,
            };
        }
        self.0.frozen.set(!all);
        Ok(())
    }

    /// Keeps the tables within their memory.
    pub fn maintain(&self) -> Result<(), Halt> {
        Ok(self.0.tables.borrow().iter().try_for_each(|table| table.borrow_mut().maintain())?)
    }
}
