//! One question to a server of this machine, in plain HTTP.

use crate::{Context, Result};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, JSON as a rule.
    pub body: String,
}

/// Asks `method path` of the server at `address`, `host:port`, with a body of the type `content`. It has `within` for each part of its
/// answer.
pub fn ask(address: &str, (method, path): (&str, &str), (content, body): (&str, &str), within: Duration) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address.parse()?, within)?;
    stream.set_read_timeout(Some(within))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok(Answer { status, body: if chunked { joined(body)? } else { body.to_owned() } })
}

/// The chunks of a body in one piece: each begins with a line that has its length in hexadecimal digits.
fn joined(mut chunks: &str) -> Result<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n").context("a chunk without its length")?;
        let length = usize::from_str_radix(length.split(';').next().unwrap_or_default().trim(), 16)?;
        if length == 0 {
            return Ok(whole);
        }
        whole.push_str(rest.get(..length).context("a chunk that is cut off")?);
        chunks = rest.get(length..).and_then(|rest| rest.strip_prefix("\r\n")).context("a chunk without an end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        assert_eq!(joined("3\r\n{\"a\r\nA;x=y\r\n\":[1,2,3]}\r\n0\r\n\r\n").unwrap(), "{\"a\":[1,2,3]}");
        assert!(joined("5\r\nabc").is_err());
        assert!(joined("").is_err());
    }
}
