//! `sluicegate dlq show`

use super::{
    super::{Code, Given, Stop, screen},
    letter::{Letter, Place},
    letters::Letters,
    replayed::Replayed,
    topic::Which,
};
use std::{fmt::Write as _, io::Write as _};

/// Show everything of one dead letter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate dlq show 3:812 --json")]
pub(super) struct Show {
    /// Its partition and offset, as `dlq list` shows them
    #[arg(value_name = "PARTITION:OFFSET")]
    place: Place,
    /// As JSON; what is no UTF-8 as base64
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Only the value, byte for byte
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    pub(super) given: Given,
}

impl Show {
    pub(super) fn run(&self, letters: &Letters<'_>) -> Result<Code, Stop> {
        let letter = letters.at(self.place)?;
        if self.raw {
            let mut out = std::io::stdout().lock();
            out.write_all(letter.value.as_deref().unwrap_or_default())?;
            out.flush()?;
            return Ok(Code::Done);
        }
        let replayed = Replayed::look(letters)?.has(&letter);
        if self.json {
            screen::json(&letter.shown(Some(replayed), true))?;
        } else {
            screen::line(page(&letter, replayed).trim_end())?;
        }
        Ok(Code::Done)
    }
}

/// All of it, for people.
fn page(letter: &Letter, replayed: bool) -> String {
    let reason = &letter.reason;
    let time = |ms: Option<i64>| ms.map_or_else(|| "without a time".to_owned(), screen::event_time);
    let unknown = || "not said".to_owned();
    let mut page = String::new();
    let mut line = |name: &str, text: &str| {
        // A String takes everything.
        let _ = writeln!(page, "{name:<12}{text}");
    };
    line("letter", &format!("{}, written {}", letter.place, time(letter.timestamp)));
    line("replayed", if replayed { "yes" } else { "no" });
    line("came from", &format!("{}-{} offset {}, {}", reason.topic, reason.partition, reason.offset, time(reason.timestamp)));
    line("class", &screen::one_line(&reason.class));
    line("message", &screen::one_line(&reason.message));
    line("job", &reason.job.as_deref().map_or_else(unknown, screen::one_line));
    line("stage", &reason.stage.as_deref().map_or_else(unknown, screen::one_line));
    line("checkpoint", &reason.checkpoint.map_or_else(unknown, |number| number.to_string()));
    if let Some(omitted) = &reason.omitted {
        line(
            "left out",
            &format!("{}, because the letter would be too large: the record is where it came from", screen::one_line(omitted)),
        );
    }
    line("key", &short(letter.key.as_deref()));
    for (name, value) in &letter.headers {
        line("header", &format!("{} = {}", screen::one_line(name), short(value.as_deref())));
    }
    match letter.value.as_deref() {
        None if reason.omitted.as_deref().is_some_and(|parts| parts.contains("value")) => {}
        None => line("value", "none: a tombstone"),
        Some(value) => {
            let text = std::str::from_utf8(value).ok();
            line("value", &format!("{} bytes, {}", value.len(), if text.is_some() { "text" } else { "no UTF-8, as hex" }));
            let shown =
                text.map_or_else(|| hex_lines(value), |text| text.lines().map(screen::one_line).collect::<Vec<_>>().join("\n"));
            page.push('\n');
            page.push_str(&shown);
        }
    }
    page
}

/// Text on one line, other bytes in hex.
fn short(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "none".to_owned(),
        Some(Ok(text)) => screen::one_line(text),
        Some(Err(_)) => format!("0x{}", hex(bytes.unwrap_or_default())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 32 bytes to a line, with the number of the first.
fn hex_lines(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).enumerate().map(|(index, line)| format!("{:08x}  {}", index * 32, hex(line)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{
        super::letter::{Reason, tests::letter},
        *,
    };

    #[test]
    fn everything_is_on_the_page() {
        let page = page(&letter(), false);
        for words in [
            "1:812, written 2026-01-01T00:00:00.500Z",
            "orders-3 offset 81723, 2026-01-01T00:00:00.123Z",
            "inexact_money",
            "amount is 4.999",
            "42",
            "O-1",
            "trace = 7",
            "16 bytes, text\n\n{\"amount\":4.999}",
        ] {
            assert!(page.contains(words), "{words:?} is not in\n{page}");
        }
    }

    #[test]
    fn what_is_no_text_is_hex_and_a_terminal_is_left_alone() {
        let bytes: Vec<u8> = (0..40).map(|byte| byte | 0x80).collect();
        let page_of_bytes = page(&Letter { value: Some(bytes), key: Some(vec![0xff, 1]), ..letter() }, true);
        assert!(
            page_of_bytes.contains("40 bytes, no UTF-8") && page_of_bytes.contains("00000020  a0a1a2a3a4a5a6a7"),
            "{page_of_bytes}"
        );
        assert!(page_of_bytes.contains("0xff01"), "{page_of_bytes}");
        let escape = page(&Letter { value: Some(b"a\x1b[2J\nb".to_vec()), ..letter() }, false);
        assert!(escape.contains("a\\u{1b}[2J\nb"), "{escape}");
        assert!(page(&Letter { value: None, ..letter() }, false).contains("a tombstone"));
        let reason = Reason { omitted: Some("value,headers".into()), ..letter().reason };
        let page = page(&Letter { value: None, reason, ..letter() }, false);
        assert!(page.contains("left out    value,headers") && !page.contains("tombstone"), "{page}");
    }
}
