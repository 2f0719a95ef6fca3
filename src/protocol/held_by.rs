//! Who holds what a job has committed, in the words of messages: a job without Kafka has no group, and no log that expires.

use std::fmt;

/// Who holds the committed offsets and the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy<'a> {
    /// This consumer group of Kafka.
    Group(&'a str),
    /// The commit log of a job without Kafka, in this file.
    File(&'a str),
}

impl<'a> From<&'a str> for HeldBy<'a> {
    fn from(group: &'a str) -> Self {
        Self::Group(group)
    }
}

impl fmt::Display for HeldBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group {group}"),
            Self::File(file) => f.write_str(file),
        }
    }
}

impl HeldBy<'_> {
    /// Who says so.
    pub(super) fn says(self) -> &'static str {
        self.words("Kafka says", "it says")
    }

    /// Whose offsets are changed when somebody changes them.
    pub(super) fn whose(self) -> &'static str {
        self.words("the group's offsets", "the file")
    }

    /// What gives a job a new life.
    pub(super) fn new_job(self) -> &'static str {
        self.words("start a new job (job.name, kafka.group)", "start a new job, under another name")
    }

    /// Why what was committed is gone.
    pub(super) fn gone(self) -> &'static str {
        self.words(
            "the offsets have expired (offsets.retention.minutes) or were deleted, or group or storage is the wrong one",
            "the file was deleted, or the storage is the wrong one",
        )
    }

    /// Why a partition is gone.
    pub(super) fn no_partition(self) -> &'static str {
        self.words("the topic was deleted, or created again with fewer partitions", "the source has fewer of them than it had")
    }

    /// Why there is nothing any more where reading would go on.
    pub(super) fn no_beginning(self) -> &'static str {
        self.words("retention.ms, retention.bytes, or DeleteRecords", "the source does not keep them")
    }

    /// Why there is less than was read.
    pub(super) fn no_end(self) -> &'static str {
        self.words(
            "the topic was deleted and created again, or has lost records (unclean leader election)",
            "what was read of the source has been changed or cut off",
        )
    }

    fn words(self, of_kafka: &'static str, of_file: &'static str) -> &'static str {
        match self {
            Self::Group(_) => of_kafka,
            Self::File(_) => of_file,
        }
    }
}
