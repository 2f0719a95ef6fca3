//! From a line to a record, wherever the line was read.

use crate::stream::{Decode, RawRecord, Timestamp, Undecodable};
use std::{str, sync::Arc};

type Parse<T> = Arc<dyn Fn(&[u8]) -> Result<T, Undecodable> + Send + Sync>;
type Time<T> = Arc<dyn Fn(&T) -> Timestamp + Send + Sync>;

/// Parses lines.
pub struct LineDecoder<T> {
    parse: Parse<T>,
    /// None: all records are at 0.
    time: Option<Time<T>>,
}

impl<T> Clone for LineDecoder<T> {
    fn clone(&self) -> Self {
        Self { parse: Arc::clone(&self.parse), time: self.time.clone() }
    }
}

impl<T: 'static> LineDecoder<T> {
    /// What `parse` makes of the bytes of a line.
    pub(super) fn of(parse: impl Fn(&[u8]) -> Result<T, Undecodable> + Send + Sync + 'static) -> Self {
        Self { parse: Arc::new(parse), time: None }
    }

    /// What `parse` makes of a line of UTF-8 text. An error says what is wrong with the line.
    pub(super) fn of_text(parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static) -> Self {
        Self::of(move |line| {
            let text = str::from_utf8(line)
                .map_err(|why| Undecodable { class: "not_utf8", message: format!("no UTF-8 text: {why}") })?;
            let about = |why: String| Undecodable { class: "not_parsed", message: format!("{text:?}: {why}") };
            parse(text).map_err(about)
        })
    }

    /// The event time of each record, in ms.
    pub(super) fn timestamps(&mut self, time: impl Fn(&T) -> Timestamp + Send + Sync + 'static) {
        self.time = Some(Arc::new(time));
    }
}

impl<T: 'static> Decode for LineDecoder<T> {
    type Out = T;

    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, T), Undecodable> {
        let parsed = (self.parse)(record.value.unwrap_or_default())?;
        Ok((self.time.as_ref().map_or(0, |time| time(&parsed)), parsed))
    }
}
