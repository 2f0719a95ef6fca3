//! The one place that turns librdkafka's error codes into our kinds of failure.
//!
//! | kind | what is in it |
//! | --- | --- |
//! | fenced | somebody initialised the same transactional id after us |
//! | transient | a broker, a leader or a coordinator is away or busy; librdkafka has retried, we may try again |
//! | refused | the log does not hold what was asked for |
//! | fatal | rights, names, limits, settings: the same request fails for ever |
//! | attempt | everything else: what it means for the transaction is not known, recovery finds out |

use crate::protocol::{Failure, FailureKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::fmt;

/// Every code that does not mean "drop the attempt and recover".
const KINDS: &[(FailureKind, &[Code])] = &[
    (
        FailureKind::Fenced,
        &[
            Code::Fenced,
            Code::ProducerFenced,
            Code::InvalidProducerEpoch,
            Code::FencedInstanceId,
            Code::TransactionCoordinatorFenced,
        ],
    ),
    (
        FailureKind::Transient,
        &[
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::Resolve,
            Code::OperationTimedOut,
            Code::MessageTimedOut,
            Code::TimedOutQueue,
            Code::WaitingForCoordinator,
            Code::WaitCache,
            Code::NodeUpdate,
            Code::DestroyBroker,
            Code::Retry,
            Code::InProgress,
            Code::UnknownBroker,
            Code::RequestTimedOut,
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::BrokerNotAvailable,
            Code::ReplicaNotAvailable,
            Code::NetworkException,
            Code::CoordinatorLoadInProgress,
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::NotController,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::ConcurrentTransactions,
            Code::KafkaStorageError,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::OffsetNotAvailable,
            Code::ListenerNotFound,
            Code::PreferredLeaderNotAvailable,
            Code::EligibleLeadersNotAvailable,
            Code::UnstableOffsetCommit,
            Code::ThrottlingQuotaExceeded,
            Code::ReassignmentInProgress,
            Code::RebootstrapRequired,
            // While a broker starts it may not know yet what exists; whether a topic is really absent is asked at the start.
            Code::UnknownTopicOrPartition,
            Code::UnknownTopicId,
            Code::UnknownTopic,
            Code::UnknownPartition,
        ],
    ),
    (FailureKind::Refused, &[Code::OffsetOutOfRange, Code::AutoOffsetReset, Code::LogTruncation]),
    (
        FailureKind::Fatal,
        &[
            Code::TopicAuthorizationFailed,
            Code::GroupAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::UnsupportedSASLMechanism,
            Code::IllegalSASLState,
            Code::SecurityDisabled,
            Code::Authentication,
            Code::SSL,
            Code::CriticalSystemResource,
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::OffsetMetadataTooLarge,
            Code::InvalidCommitOffsetSize,
            Code::InvalidTransactionTimeout,
            Code::InvalidRequiredAcks,
            Code::InvalidTopic,
            Code::InvalidGroupId,
            Code::InvalidPartitions,
            Code::InvalidReplicationFactor,
            Code::InvalidReplicaAssignment,
            Code::InvalidConfig,
            Code::InvalidTimestamp,
            Code::InvalidRecord,
            Code::PolicyViolation,
            Code::TopicAlreadyExists,
            Code::UnsupportedVersion,
            Code::UnsupportedFeature,
            Code::UnsupportedForMessageFormat,
            Code::UnsupportedCompressionType,
            Code::NotImplemented,
            Code::NotConfigured,
            Code::InvalidArgument,
        ],
    ),
];

/// What a librdkafka code asks of the supervisor.
pub(super) fn kind(code: Code) -> FailureKind {
    KINDS.iter().find(|(_, codes)| codes.contains(&code)).map_or(FailureKind::Attempt, |(kind, _)| *kind)
}

/// Whether `code` says that somebody else initialised the transactional id after us.
pub(super) fn is_fencing(code: Code) -> bool {
    kind(code) == FailureKind::Fenced
}

/// Whether a record with `code` only shares the fate of another one: once a record of a transaction has failed, those that wait are purged.
pub(super) fn is_consequence(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::State)
}

/// A failure out of what rdkafka returned while `doing` something.
pub(super) fn failure(doing: impl fmt::Display, error: &KafkaError) -> Failure {
    let message = format!("{doing}: {}", explain(error));
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::AdminOpCreation(_) | KafkaError::Nul(_) => {
            Failure::fatal(message)
        }
        other => Failure::new(other.rdkafka_error_code().map_or(FailureKind::Attempt, kind), message),
    }
}

/// A failure out of a bare code.
pub(super) fn of_code(doing: impl fmt::Display, code: Code) -> Failure {
    Failure::new(kind(code), format!("{doing}: {code}"))
}

/// The broker's or librdkafka's own words, without the layers that rdkafka puts around them.
pub(super) fn explain(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => format!("{} ({})", error.string(), error.name()),
        KafkaError::ClientConfig(_, why, property, value) => {
            let value = if is_secret(property) { "***" } else { value };
            format!("kafka.properties {property:?} = {value:?}: {why}")
        }
        KafkaError::ClientCreation(why) => format!("Kafka client: {why}"),
        other => other.rdkafka_error_code().map_or_else(|| other.to_string(), |code| code.to_string()),
    }
}

/// Properties whose values must not be shown.
pub(super) fn is_secret(property: &str) -> bool {
    ["password", "secret", "key.pem", "sasl.oauthbearer.config", "sasl.jaas"].iter().any(|part| property.contains(part))
}

/// The failure of a blocking call whose attempt was ended by another thread.
pub(super) fn cancelled(doing: impl fmt::Display) -> Failure {
    Failure::attempt(format!("{doing}: stopped, because the attempt has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_kind_and_the_rest_ends_the_attempt() {
        let all: Vec<Code> = KINDS.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
        for code in &all {
            assert_eq!(all.iter().filter(|other| *other == code).count(), 1, "{code:?} stands in two rows");
        }
        for (code, wanted) in [
            (Code::Fenced, FailureKind::Fenced),
            (Code::InvalidProducerEpoch, FailureKind::Fenced),
            (Code::AllBrokersDown, FailureKind::Transient),
            (Code::OperationTimedOut, FailureKind::Transient),
            (Code::OffsetOutOfRange, FailureKind::Refused),
            (Code::MessageSizeTooLarge, FailureKind::Fatal),
            (Code::TopicAuthorizationFailed, FailureKind::Fatal),
            (Code::OutOfOrderSequenceNumber, FailureKind::Attempt),
            (Code::InvalidTransactionalState, FailureKind::Attempt),
            (Code::Fatal, FailureKind::Attempt),
            (Code::State, FailureKind::Attempt),
        ] {
            assert_eq!(kind(code), wanted, "{code:?}");
        }
    }

    #[test]
    fn a_failure_says_what_was_done_and_hides_secrets() {
        let failure = failure("metadata of topic orders", &KafkaError::MetadataFetch(Code::BrokerTransportFailure));
        assert_eq!(failure.kind, FailureKind::Transient);
        assert!(failure.message.starts_with("metadata of topic orders: "), "{failure}");
        let wrong = rdkafka::ClientConfig::new().set("sasl.password", "a\0hunter2").create_native_config();
        assert!(wrong.is_err());
        let config = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "no".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        let shown = super::failure("start", &config);
        assert!(shown.kind == FailureKind::Fatal && !shown.message.contains("hunter2"), "{shown}");
    }
}
