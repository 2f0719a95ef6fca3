//! The jobs that ship with sluicegate. They are written with [`crate::stream`] and [`mod@crate::format`] only.

pub mod orders;
