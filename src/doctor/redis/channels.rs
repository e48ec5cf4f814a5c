//! The bus between instances, started as a hub starts it: something is said on a room's channel and on one of the hub's, and
//! must come back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{HANGS, LOOK_INTERVAL, Session, failed_for, unknown_health};
use crate::{
    bus::{Bus, BusDelivery, Channel, RedisBus},
    config::RedisForm,
    doctor::examination::{Examination, Verdict},
    ids::{InstanceId, RoomId},
    redis::Faults,
};

/// What is said is said again after this time: the bus may lose it.
const REPEAT: Duration = Duration::from_millis(200);
/// A bus that cannot be set up for want of a permission knows it only after a while.
const SHARDED: &str = "redis.sharded-pubsub";
const PLAIN: &str = "redis.pubsub";

pub(super) async fn examine(session: &Session, examination: &mut Examination) {
    let sharded = matches!(session.config.address.form, RedisForm::Cluster(_));
    let (used, unused) = if sharded { (SHARDED, PLAIN) } else { (PLAIN, SHARDED) };
    examination.check(used, HANGS, round_trip(session, sharded, examination.check_limit())).await;
    let reason = if sharded { "a Cluster is used by sharded pub/sub" } else { "only a Cluster needs it" };
    examination.skip(&[unused], reason);
}

async fn round_trip(session: &Session, sharded: bool, limit: Duration) -> Verdict {
    let health = unknown_health();
    let faults = Faults::new(Arc::clone(&health), &session.config.key_prefix);
    let instance = InstanceId::random();
    let started = RedisBus::start(&session.thread, &session.config, instance, Arc::clone(&health), faults).await;
    let bus = match started {
        Ok(bus) => bus,
        Err(fault) => return failed_for(&fault),
    };
    // A room that nobody is in: its name was made up just now.
    let room = format!("doctor-{instance}/round-trip").parse::<RoomId>();
    let Ok(room) = room else {
        return Verdict::failed("the doctor's own room has no valid name", "report this, please");
    };
    let said = async {
        let mut slowest = Duration::ZERO;
        for channel in [Channel::Room(room), Channel::Hub("doctor")] {
            slowest = slowest.max(hear(&bus, channel, &instance.to_string()).await);
        }
        slowest
    };
    let verdict = tokio::select! {
        took = said => {
            let kind = if sharded { "sharded, on each primary" } else { "on a room's channel and the hub's" };
            Verdict::passed(format!("said and heard {kind}, within {:.1} ms", took.as_secs_f64() * 1e3))
        }
        () = tokio::time::sleep(limit * 4 / 5) => {
            let words = health.redis_fault().unwrap_or_else(|| "what is published is not delivered: check that the user in \
                                                                REDIS_URL may use its channels, and the load of Redis".into());
            session.remember(&words);
            failed_for(&words)
        }
        words = permission(&health) => {
            session.remember(&words);
            failed_for(&words)
        }
    };
    drop(tokio::time::timeout(limit / 10, bus.close()).await);
    verdict
}

/// Waits for a fault that will not pass by itself.
async fn permission(health: &crate::health::Health) -> String {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if let Some(words) = health.redis_fault().filter(|words| words.contains("ACL SETUSER")) {
            return words;
        }
    }
}

/// How long a text took there and back, on a channel of the bus.
async fn hear(bus: &RedisBus, channel: Channel, text: &str) -> Duration {
    let (inbox, mut heard) = mpsc::unbounded_channel();
    bus.subscribe(channel.clone(), inbox.into());
    loop {
        // While it is down, a hub's channel reaches only this instance, which would prove nothing.
        while !bus.is_up(&channel) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let begun = Instant::now();
        bus.publish(channel.clone(), text.to_owned(), None);
        let back = async {
            loop {
                match heard.recv().await {
                    Some(BusDelivery::Event(event)) if *event == *text => return,
                    Some(_) => {}
                    None => std::future::pending().await, // the inbox lives as long as this
                }
            }
        };
        if tokio::time::timeout(REPEAT, back).await.is_ok() && bus.is_up(&channel) {
            return begun.elapsed();
        }
    }
}
