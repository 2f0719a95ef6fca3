//! Progress on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::borrow::Cow;

/// A bar for `length` steps, or a spinner if their number is not known. Shows nothing where standard error is not a terminal.
pub(super) fn bar(length: Option<u64>, doing: impl Into<Cow<'static, str>>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_style(style(length.is_some()));
    bar.set_message(doing);
    bar
}

fn style(known: bool) -> ProgressStyle {
    let template =
        if known { "{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}" } else { "{msg} {spinner} {human_pos} {per_sec}" };
    // A template that does not parse would be a slip of ours; the default is as good then.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
