//! The proxy that the tests put before a broker: it refuses, keeps back, delays, and loses one reply, and the broker never notices
//! more than that.

use crate::harness::{END, LIMIT, within};
use integration_tests::{
    broker::{Broker, Options},
    deadline::wait_until,
    ensure,
    proxy::{Api, Network},
    topics::Cluster,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::time::{Duration, Instant};

#[test]
fn the_network_refuses_keeps_back_and_delays_as_it_is_told() {
    within(LIMIT, || {
        let broker = Broker::start(&Options { proxied: true, ..Options::own() })?;
        let cluster = Cluster::at(broker.bootstrap())?;
        let answers = || cluster.brokers().is_ok();
        wait_until("an answer through the proxy", END, || Ok(answers()))?;
        for network in [Network::Refuses, Network::HoldsReplies, Network::HoldsRequests] {
            broker.network(1)?.set(network);
            ensure!(!answers(), "an answer although the network {network:?}");
            broker.network(1)?.set(Network::Works);
            wait_until(format!("an answer after the network {network:?}"), END, || Ok(answers()))?;
        }
        broker.network(1)?.set(Network::Delays(Duration::from_millis(300)));
        let began = Instant::now();
        // One question, which waits for its answer for long
        cluster.names()?;
        ensure!(began.elapsed() >= Duration::from_millis(300), "no delay: {:?}", began.elapsed());
        Ok(())
    });
}

#[test]
fn a_lost_reply_to_a_commit_leaves_the_commit_done() {
    within(LIMIT, || {
        // Given an open transaction with one record
        let broker = Broker::start(&Options { proxied: true, ..Options::own() })?;
        let cluster = Cluster::at(broker.bootstrap())?;
        cluster.create("numbers", 1, &[])?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap()).set("transactional.id", "writer");
        let producer: BaseProducer = config.set("reconnect.backoff.max.ms", "500").create()?;
        producer.init_transactions(END)?;
        producer.begin_transaction()?;
        producer.send(BaseRecord::<str, str>::to("numbers").payload("1")).map_err(|(error, _)| error)?;
        // When the reply to its commit is lost
        broker.network(1)?.lose_reply_to(Api::EndTxn);
        // Whatever the client makes of it: the answer is lost, and librdkafka may ask again
        let _ = producer.commit_transaction(END);
        // Then it was lost, and the record is visible all the same, once
        assert_eq!(broker.network(1)?.lost(), 1);
        wait_until("the committed record", END, || Ok(cluster.read("numbers")?.len() == 1))
    });
}
