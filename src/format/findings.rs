//! What speaks against one record.

use super::{DecodeError, ErrorClass};

/// Keeps the first finding of the class that comes first.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) worst: Option<DecodeError>,
}

impl Findings {
    pub(super) fn note(&mut self, class: ErrorClass, message: impl FnOnce() -> String) {
        if self.worst.as_ref().is_none_or(|worst| class < worst.class) {
            self.worst = Some(DecodeError { class, message: message() });
        }
    }
}
