//! librdkafka properties that are not the user's to set, with the reason.

/// Why `property` is set by sluicegate alone; none if the user may set it.
pub(super) fn owned(property: &str) -> Option<&'static str> {
    let reason = match property {
        "bootstrap.servers" | "metadata.broker.list" => "use kafka.bootstrap_servers",
        "group.id" => "use kafka.group",
        "transactional.id" => "ids are derived from the group, so that every one of them can be fenced at recovery",
        "transaction.timeout.ms" => "use kafka.transaction_timeout",
        "enable.idempotence" | "acks" | "request.required.acks" | "max.in.flight" | "max.in.flight.requests.per.connection" => {
            "transactions need the idempotent producer"
        }
        "isolation.level" => "input is read as read_committed, else aborted records of others would be processed",
        "enable.auto.commit" | "enable.auto.offset.store" | "auto.commit.interval.ms" => {
            "offsets are committed in the same transaction as the outputs"
        }
        "auto.offset.reset" => "use source.start; later an offset out of range is refused, never guessed",
        "group.protocol" | "group.remote.assignor" | "partition.assignment.strategy" | "group.instance.id" => {
            "partitions are assigned by sluicegate, not by the group"
        }
        "message.timeout.ms" | "delivery.timeout.ms" => "it follows from kafka.transaction_timeout",
        "delivery.report.only.error" | "dr_cb" | "dr_msg_cb" => "deliveries are checked as a whole when a transaction is flushed",
        _ => return None,
    };
    Some(reason)
}

/// True for properties whose values must not be shown.
pub(super) fn is_secret(property: &str) -> bool {
    ["password", "secret", "key.pem", "sasl.oauthbearer.config", "sasl.jaas"].iter().any(|part| property.contains(part))
}
