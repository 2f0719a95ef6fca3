//! Topics, records and committed offsets, seen by a client of our own that shares nothing with the program under test.

use crate::{
    Context, Result, anyhow, bail,
    deadline::{wait_for, wait_until},
};
use futures::executor::block_on;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders, ToBytes},
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// For one question to a broker that is up.
const ANSWER: Duration = Duration::from_secs(60);

/// A record as a reader with `isolation.level=read_committed` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic that it lies in.
    pub topic: String,
    /// Partition that it lies in.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Kafka's timestamp, in milliseconds since 1970; none if the record has none.
    pub timestamp: Option<i64>,
    /// Key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Value, if it has one.
    pub value: Option<Vec<u8>>,
    /// Headers in order; an absent value is empty.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The value as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        let value = self.value.as_deref().context("the record has no value")?;
        serde_json::from_slice(value).with_context(|| format!("not JSON: {}", String::from_utf8_lossy(value)))
    }

    /// The value of the first header `name`, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Topic and partition.
pub type Position = (String, i32);

/// A Kafka cluster by its address.
pub struct Cluster {
    bootstrap: String,
    asking: Arc<BaseConsumer>,
}

impl Cluster {
    /// The cluster behind `bootstrap`; it need not answer yet.
    pub fn at(bootstrap: &str) -> Result<Self> {
        Ok(Self { bootstrap: bootstrap.to_owned(), asking: Arc::new(client(bootstrap).create()?) })
    }

    /// Ids of the brokers that are alive.
    pub fn brokers(&self) -> Result<BTreeSet<i32>> {
        // Short: it is asked again and again while a broker starts.
        let metadata = self.asking.fetch_metadata(None, Duration::from_secs(1))?;
        Ok(metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect())
    }

    /// Waits until every replica of every topic is in sync, so that a broker may go without anybody noticing.
    pub fn await_in_sync(&self, within: Duration) -> Result<()> {
        wait_until("all replicas in sync", within, || {
            let Ok(metadata) = self.asking.fetch_metadata(None, Duration::from_secs(2)) else { return Ok(false) };
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            Ok(partitions.all(|p| p.leader() >= 0 && p.isr().len() == p.replicas().len()))
        })
    }

    /// Creates a topic and waits until all of its partitions have leaders. `settings` are topic configurations. Replication is
    /// the broker's default.
    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        succeed(block_on(self.admin()?.create_topics([&new], &options()))?)?;
        self.await_partitions(topic, partitions)
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete(&self, topic: &str) -> Result<()> {
        succeed(block_on(self.admin()?.delete_topics(&[topic], &options()))?)?;
        wait_until(format!("the end of topic {topic}"), ANSWER, || Ok(!self.names()?.contains(topic)))
    }

    /// Raises a topic's number of partitions to `total` and waits until they have leaders.
    pub fn add_partitions(&self, topic: &str, total: i32) -> Result<()> {
        let new = NewPartitions::new(topic, usize::try_from(total)?);
        succeed(block_on(self.admin()?.create_partitions([&new], &options()))?)?;
        self.await_partitions(topic, total)
    }

    /// Removes a topic's records before `offset` of `partition`, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        block_on(self.admin()?.delete_records(&list, &options()))?;
        Ok(())
    }

    /// Deletes a consumer group with its offsets.
    pub fn delete_group(&self, group: &str) -> Result<()> {
        succeed(block_on(self.admin()?.delete_groups(&[group], &options()))?)
    }

    /// Names of all topics.
    pub fn names(&self) -> Result<BTreeSet<String>> {
        let metadata = self.asking.fetch_metadata(None, ANSWER)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str) -> Result<i32> {
        let metadata = self.asking.fetch_metadata(Some(topic), ANSWER)?;
        let topic = metadata.topics().first().with_context(|| format!("no metadata of topic {topic}"))?;
        if let Some(error) = topic.error() {
            bail!("topic {}: {}", topic.name(), rdkafka::types::RDKafkaErrorCode::from(error));
        }
        Ok(i32::try_from(topic.partitions().len())?)
    }

    /// What `group` has committed for `topic`: per partition the next offset and the metadata string. Waits while a transaction
    /// on the offsets is open.
    pub fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, (i64, String)>> {
        let consumer: BaseConsumer = client(&self.bootstrap).set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic)? {
            list.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(list, ANSWER)?;
        let mut offsets = BTreeMap::new();
        for element in committed.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), (offset, element.metadata().to_owned()));
            }
        }
        Ok(offsets)
    }

    /// Per partition of a topic, the offset behind its last record.
    pub fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        (0..self.partitions(topic)?).map(|partition| Ok(self.asking.fetch_watermarks(topic, partition, ANSWER)?.1)).collect()
    }

    /// Whether a transaction is open in `topic`: a `read_committed` reader then sees less than all.
    pub fn has_open_transaction(&self, topic: &str) -> Result<bool> {
        let mut config = client(&self.bootstrap);
        let reader: BaseConsumer = config.set("group.id", "reader").set("isolation.level", "read_committed").create()?;
        let mut all = client(&self.bootstrap);
        let all: BaseConsumer = all.set("isolation.level", "read_uncommitted").create()?;
        for partition in 0..self.partitions(topic)? {
            let (_, stable) = reader.fetch_watermarks(topic, partition, ANSWER)?;
            let (_, end) = all.fetch_watermarks(topic, partition, ANSWER)?;
            if stable < end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends records to a topic, each `(key, value)`, in order, and waits until the broker has them.
    pub fn send<'a>(&self, topic: &str, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<()> {
        self.send_all(records.into_iter().map(|(key, value)| BaseRecord::to(topic).key(key).payload(value)))
    }

    /// The same, to one partition.
    pub fn send_to<'a>(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<()> {
        let to = |(key, value)| BaseRecord::to(topic).partition(partition).key(key).payload(value);
        self.send_all(records.into_iter().map(to))
    }

    /// Sends one record with headers; key and value may be absent.
    pub fn send_whole(
        &self,
        topic: &str,
        partition: i32,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<()> {
        let owned = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).headers(owned);
        (record.key, record.payload) = (key, value);
        self.send_all(std::iter::once(record))
    }

    fn send_all<'a, K: ToBytes + ?Sized + 'a>(&self, records: impl Iterator<Item = BaseRecord<'a, K, [u8]>>) -> Result<()> {
        let failed = Failures::default();
        let mut config = client(&self.bootstrap);
        let producer: BaseProducer<Failures> = config
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "60000")
            .set("message.max.bytes", "64000000")
            .create_with_context(failed.clone())?;
        for record in records {
            let mut record = record;
            while let Err((error, back)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(2 * ANSWER)?;
        failed.check()
    }

    /// Every record of a topic that is visible now to a `read_committed` reader, by partition and offset.
    pub fn read(&self, topic: &str) -> Result<Vec<Record>> {
        let mut config = client(&self.bootstrap);
        config.set("group.id", "reader").set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create()?;
        let partitions = self.partitions(topic)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let mut records = Vec::new();
        let mut open: BTreeSet<i32> = (0..partitions).collect();
        wait_for(format!("the end of topic {topic}"), Duration::from_secs(120), || {
            while !open.is_empty() {
                match consumer.poll(Duration::from_millis(500)) {
                    None => return Ok(None),
                    Some(Ok(message)) => records.push(record(&message)),
                    // The last stable offset, with this isolation level.
                    Some(Err(KafkaError::PartitionEOF(partition))) => _ = open.remove(&partition),
                    Some(Err(error)) if transient(&error) => {}
                    Some(Err(error)) => return Err(anyhow!("reading topic {topic}: {error}")),
                }
            }
            Ok(Some(()))
        })?;
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// A reader of what becomes visible from now on in `topic`, with `isolation.level=read_committed`.
    pub fn tail(&self, topic: &str) -> Result<Tail> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic)? {
            // The high watermark, as a number: "end" would be looked up only at the first poll. The leader of a new partition may not
            // know yet that it is.
            let high = wait_for(format!("the end of {topic}-{partition}"), ANSWER, || {
                Ok(self.asking.fetch_watermarks(topic, partition, ANSWER).ok().map(|(_, high)| high))
            })?;
            list.add_partition_offset(topic, partition, Offset::Offset(high))?;
        }
        self.reader(&list)
    }

    /// A reader of all that is and becomes visible from these offsets on, with `isolation.level=read_committed`.
    pub fn follow(&self, from: &BTreeMap<Position, i64>) -> Result<Tail> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in from {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.reader(&list)
    }

    fn reader(&self, list: &TopicPartitionList) -> Result<Tail> {
        let mut config = client(&self.bootstrap);
        config.set("group.id", "tail").set("isolation.level", "read_committed").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.set("fetch.wait.max.ms", "5").create()?;
        consumer.assign(list)?;
        Ok(Tail { consumer })
    }

    fn await_partitions(&self, topic: &str, wanted: i32) -> Result<()> {
        wait_for(format!("leaders of the {wanted} partitions of topic {topic}"), ANSWER, || {
            let metadata = self.asking.fetch_metadata(Some(topic), ANSWER)?;
            let led =
                metadata.topics().iter().flat_map(|topic| topic.partitions()).filter(|p| p.error().is_none() && p.leader() >= 0);
            Ok((led.count() >= usize::try_from(wanted)?).then_some(()))
        })
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(client(&self.bootstrap).create()?)
    }
}

/// Reads what becomes visible.
pub struct Tail {
    consumer: BaseConsumer,
}

impl Tail {
    /// The next visible record, or none within `within`.
    pub fn next(&self, within: Duration) -> Result<Option<Record>> {
        match self.consumer.poll(within) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(record(&message))),
            Some(Err(error)) if transient(&error) => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

/// Delivery reports that were errors.
#[derive(Clone, Default)]
struct Failures(Arc<std::sync::Mutex<Vec<String>>>);

impl Failures {
    fn check(&self) -> Result<()> {
        let failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match failures.first() {
            None => Ok(()),
            Some(first) => bail!("{} records were not delivered, the first because of: {first}", failures.len()),
        }
    }
}

impl rdkafka::ClientContext for Failures {}

impl rdkafka::producer::ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(error.to_string());
        }
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    // Without these a client comes back up to 10 s after its broker.
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
    config
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

/// The first error of the answers of an admin call.
fn succeed(answers: Vec<Result<String, (String, rdkafka::types::RDKafkaErrorCode)>>) -> Result<()> {
    for answer in answers {
        answer.map_err(|(name, code)| anyhow!("{name}: {code}"))?;
    }
    Ok(())
}

/// What librdkafka mends by itself.
fn transient(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut))
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
    }
}
