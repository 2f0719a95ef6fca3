//! What a network does to a job at work: connections are refused and cut, stall in one direction, become slow, and lose single replies.
//! A lost reply to a commit is the case that matters most: it is done, and the job does not know.
//!
//! Kafka's client asks again for what had no answer, and the broker answers what was done already: that is Kafka's own protection. Only
//! when that takes too long does the job not know, drops the attempt, and asks Kafka what is committed. That it would be wrong to go
//! on instead is what the model shows (`ResumeAfterUnknownOutcome` in `src/protocol/mutant.rs`); here an attempt that went on would
//! fail by its next transaction anyhow.

use crate::harness::{END, LIMIT, within, works_off_all};
use integration_tests::{
    Context, Result,
    broker::{Broker, Options},
    deadline::wait_until,
    ensure,
    job::{Job, Load},
    process::Process,
    proxy::{Api, Network},
    service::Service,
};
use std::{thread, time::Duration};

const EVENTS: u64 = 10_000;

struct AtWork {
    job: Job,
    broker: Broker,
    load: Process,
    service: Service,
}

fn at_work() -> Result<AtWork> {
    let broker = Broker::start(&Options { proxied: true, ..Options::own() })?;
    let mut job = Job::for_test(broker.bootstrap())?;
    job.set("checkpoint.timeout", "6s").set("kafka.transaction_timeout", "9s").set("restart.attempts", 1000);
    let job = job.with_events(Load::of(EVENTS))?;
    let load = job.start_generating(Load::of(60 * EVENTS).at(1_000).more())?;
    let mut service = job.start()?;
    service.wait_ready()?;
    service.wait_checkpoints(2)?;
    Ok(AtWork { job, broker, load, service })
}

impl AtWork {
    fn ends_clean(mut self) -> Result<()> {
        self.load.terminate(END)?;
        let exit = self.service.finish()?;
        ensure!(exit.code() == Some(0), "{}", self.service.last_lines(60));
        works_off_all(self.job.be_patient(), EVENTS)
    }
}

#[test]
fn cut_refused_stalled_and_slow_connections_are_outlived() {
    within(LIMIT, || {
        let mut it = at_work()?;
        it.broker.network(1)?.cut();
        it.service.wait_checkpoints(2).context("cut")?;
        for (network, lasts) in [
            (Network::Refuses, 2),
            (Network::HoldsRequests, 3),
            (Network::HoldsReplies, 3),
            (Network::Delays(Duration::from_millis(500)), 5),
            // Longer than every timeout of the job
            (Network::HoldsReplies, 12),
        ] {
            it.broker.network(1)?.set(network);
            thread::sleep(Duration::from_secs(lasts));
            it.broker.network(1)?.set(Network::Works);
            it.service.wait_checkpoints(2).with_context(|| format!("after {lasts} s of a network that {network:?}"))?;
        }
        it.ends_clean()
    });
}

#[test]
fn lost_replies_are_found_out_about() {
    within(LIMIT, || {
        let mut it = at_work()?;
        for api in [
            Api::EndTxn,
            Api::TxnOffsetCommit,
            Api::AddOffsetsToTxn,
            Api::AddPartitionsToTxn,
            Api::InitProducerId,
            Api::Produce,
            Api::EndTxn,
        ] {
            let network = it.broker.network(1)?;
            let before = network.lost();
            network.lose_reply_to(api);
            wait_until(format!("a lost reply to {api:?}"), END, || Ok(network.lost() > before))?;
            it.service.wait_checkpoints(2).with_context(|| format!("after a lost reply to {api:?}"))?;
        }
        // And a commit that is done, whose reply is lost, and that cannot be asked about for longer than a checkpoint may take
        let network = it.broker.network(1)?;
        let before = network.lost();
        network.lose_reply_to_and_set(Api::EndTxn, Network::Refuses);
        wait_until("a lost reply to EndTxn", END, || Ok(network.lost() > before))?;
        it.service.wait_says("its outcome is unknown", END)?;
        it.broker.network(1)?.set(Network::Works);
        it.service.wait_checkpoints(2).context("after a commit of unknown outcome")?;
        it.ends_clean()
    });
}
