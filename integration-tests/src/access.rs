//! Access control lists of a broker, for rights that are taken away while a job runs.
//!
//! No Kafka client for Rust speaks these two requests, and they are short: `CreateAcls` and `DeleteAcls` in their version 1, written
//! by hand (KIP-50, and the tables of Kafka's protocol guide).

use crate::{Context, Result, broker::Options, ensure};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const VERSION: i16 = 1;
/// Clients without authentication, which is everybody here.
const EVERYBODY: &str = "User:ANONYMOUS";
const ANSWER: Duration = Duration::from_secs(60);

/// What may be forbidden, with the numbers that Kafka gives to the kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Resource {
    /// A topic.
    Topic = 2,
    /// A consumer group.
    Group = 3,
    /// A transactional id.
    TransactionalId = 5,
}

/// An operation on a resource, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Reading a topic; committing offsets of a group.
    Read = 3,
    /// Writing to a topic; using a transactional id.
    Write = 4,
}

/// Broker options with Kafka's own authorizer, which permits whatever is not forbidden.
#[must_use]
pub fn authorizing(options: Options) -> Options {
    options
        .with("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .with("allow.everyone.if.no.acl.found", "true")
}

/// Forbids `operation` on `name` to everybody, beside permitting the rest: a resource with a list is closed to whoever is not on it.
pub fn forbid(broker: &str, resource: Resource, name: &str, operation: Operation) -> Result<()> {
    const ALL: u8 = 2;
    const DENY: u8 = 2;
    const ALLOW: u8 = 3;
    let mut body = Vec::new();
    body.extend(2_i32.to_be_bytes());
    for (operation, permission) in [(operation as u8, DENY), (ALL, ALLOW)] {
        entry(&mut body, resource, name, operation, permission)?;
    }
    call(broker, CREATE_ACLS, &body)
}

/// Takes everything back that was forbidden or permitted on `name`.
pub fn permit(broker: &str, resource: Resource, name: &str) -> Result<()> {
    const ANY: u8 = 1;
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes());
    entry(&mut body, resource, name, ANY, ANY)?;
    call(broker, DELETE_ACLS, &body)
}

/// One entry of a list, or one filter: both have the same fields.
fn entry(body: &mut Vec<u8>, resource: Resource, name: &str, operation: u8, permission: u8) -> Result<()> {
    const LITERAL: u8 = 3;
    body.push(resource as u8);
    text(body, name)?;
    body.push(LITERAL);
    text(body, EVERYBODY)?;
    text(body, "*")?;
    body.extend([operation, permission]);
    Ok(())
}

fn text(body: &mut Vec<u8>, text: &str) -> Result<()> {
    body.extend(i16::try_from(text.len())?.to_be_bytes());
    body.extend(text.as_bytes());
    Ok(())
}

/// Sends a request and looks for an error in the answer.
fn call(broker: &str, api: i16, body: &[u8]) -> Result<()> {
    let address = broker.split(',').next().unwrap_or_default();
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut frame = Vec::new();
    frame.extend(api.to_be_bytes());
    frame.extend(VERSION.to_be_bytes());
    frame.extend(1_i32.to_be_bytes());
    text(&mut frame, "tests")?;
    frame.extend(body);
    stream.write_all(&i32::try_from(frame.len())?.to_be_bytes())?;
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    // Correlation id, throttle time, number of results; then of each the error code and its message.
    let code = answer.get(12..14).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes);
    ensure!(code == Some(0), "the broker answered {code:?}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
