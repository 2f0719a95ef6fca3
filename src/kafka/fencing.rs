//! `init_transactions`: fences whoever used the id before, and aborts what it left open.
//!
//! Over a hanging transaction the broker answers CONCURRENT_TRANSACTIONS while it aborts, and librdkafka asks again on a fixed timer
//! of 500 ms. A new handle asks at once: so a handle is given a short time, then the next one a longer one, and only the last as long
//! as it takes. Measured with one short handle: 155 ms instead of 556 ms; but when the abort took longer than that, 655 or 1108 ms.
//! The times grow, so that brokers that are far away find a handle that waits for them.

use super::{
    Connection,
    context::Deliveries,
    failure,
    waiting::{SLICE, Wait},
};
use crate::protocol::Failure;
use rdkafka::{
    error::KafkaError,
    producer::{BaseProducer, Producer as _},
};
use std::time::Duration;

/// What the short-lived handles are given. With 40 ms the request is not out yet: 54 ms pass inside the client first.
const SHORT: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(150), Duration::from_millis(225), Duration::from_millis(340)];

/// A producer of `id` that nobody else can use any more.
pub(super) fn fence(
    connection: &Connection,
    id: &str,
    transaction_timeout: Duration,
    wait: &Wait<'_>,
) -> Result<BaseProducer<Deliveries>, Failure> {
    fence_with(connection.transactional_client(id, transaction_timeout)?, connection, id, transaction_timeout, wait)
}

/// The same, with a handle that was created before, so that it may be connected already. A handle alone fences nobody.
pub(super) fn fence_with(
    first: BaseProducer<Deliveries>,
    connection: &Connection,
    id: &str,
    transaction_timeout: Duration,
    wait: &Wait<'_>,
) -> Result<BaseProducer<Deliveries>, Failure> {
    let mut producer = first;
    for short in SHORT {
        match producer.init_transactions(wait.slice(short)) {
            Ok(()) => return Ok(producer),
            Err(error) => retriable_or_fail(&producer, id, &error, wait)?,
        }
        producer = connection.transactional_client(id, transaction_timeout)?;
    }
    fence_with_one(producer, id, wait)
}

/// The same with one handle only. A request of a handle that was given up may still lie in front of a broker that was frozen, and be
/// carried out after that of the next handle, which it fences.
pub(super) fn fence_with_one(
    producer: BaseProducer<Deliveries>,
    id: &str,
    wait: &Wait<'_>,
) -> Result<BaseProducer<Deliveries>, Failure> {
    loop {
        // "Retry call to resume": the request goes on between two slices.
        match producer.init_transactions(wait.slice(SLICE)) {
            Ok(()) => return Ok(producer),
            Err(error) => retriable_or_fail(&producer, id, &error, wait)?,
        }
    }
}

fn retriable_or_fail(producer: &BaseProducer<Deliveries>, id: &str, error: &KafkaError, wait: &Wait<'_>) -> Result<(), Failure> {
    let doing = || format!("initialising transactional id {id}");
    (0..8).for_each(|_| producer.poll(Duration::ZERO));
    let retriable = matches!(error, KafkaError::Transaction(error) if error.is_retriable());
    if !retriable {
        return Err(failure::failure(doing(), error));
    }
    if wait.cancelled() {
        return Err(failure::cancelled(doing()));
    }
    if wait.is_over() {
        let reason = producer.context().told.last_error().map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
        let why = failure::explain(error);
        return Err(Failure::transient(format!("{}: not within {:?}: {why}{reason}", doing(), wait.patience())));
    }
    Ok(())
}
