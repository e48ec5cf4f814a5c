//! What concerns the whole hub: one contract for the bus within an instance and the bus between instances.

use std::sync::Arc;

use hubbub::{
    bus::{Bus, BusDelivery, Channel, LocalBus, RedisBus},
    health::{Health, Link, Links},
    ids::InstanceId,
    redis::{Faults, RedisThread},
};
use tokio::sync::mpsc;

use crate::support::{
    Proxy, RedisServer, eventually,
    library::{in_system, redis_config},
};

const TOPIC: Channel = Channel::Hub("tests");

struct Listener(mpsc::UnboundedReceiver<BusDelivery>);

impl Listener {
    fn to(bus: &dyn Bus, channel: Channel) -> (Self, mpsc::UnboundedSender<BusDelivery>) {
        let (inbox, deliveries) = mpsc::unbounded_channel();
        bus.subscribe(channel, inbox.clone().into());
        (Self(deliveries), inbox)
    }

    async fn next(&mut self) -> BusDelivery {
        let next = eventually("something was delivered", async || self.0.try_recv().ok());
        next.await
    }

    /// The texts up to and with this one; `Restored` is passed over.
    async fn until(&mut self, last: &str) -> Vec<Arc<str>> {
        let mut texts = Vec::new();
        loop {
            if let BusDelivery::Event(text) = self.next().await {
                let done = &*text == last;
                texts.push(text);
                if done {
                    return texts;
                }
            }
        }
    }

    async fn until_restored(&mut self) {
        while !matches!(self.next().await, BusDelivery::Restored) {}
    }
}

async fn redis_bus(redis: &RedisServer) -> RedisBus {
    bus_to(&redis.url()).await
}

async fn bus_to(url: &str) -> RedisBus {
    let health = Arc::new(Health::new(Links { database: Link::Connected, redis: Link::Disconnected }));
    let config = redis_config(&["--redis-url", url]);
    let faults = Faults::new(Arc::clone(&health), "hubbub:");
    let thread = RedisThread::start();
    RedisBus::start(&thread, &config, InstanceId::random(), health, faults).await.expect("a good address")
}

/// Says a text until it is heard: a subscription takes a moment.
async fn heard(from: &dyn Bus, by: &mut Listener) {
    eventually("a text was heard", async || {
        from.publish(TOPIC, "warm-up".into(), None);
        std::iter::from_fn(|| by.0.try_recv().ok()).find(|delivery| matches!(delivery, BusDelivery::Event(_)))
    })
    .await;
    from.publish(TOPIC, "warm".into(), None);
    by.until("warm").await;
}

/// What every bus promises to a part of the hub on the instance that speaks.
async fn keeps_the_contract_at_home(bus: &dyn Bus) {
    let ((mut one, inbox), (mut other, _)) = (Listener::to(bus, TOPIC), Listener::to(bus, TOPIC));
    let (mut elsewhere, _) = Listener::to(bus, Channel::Hub("another"));
    heard(bus, &mut one).await;
    for listener in [&mut one, &mut other] {
        bus.publish(TOPIC, "a".into(), None);
        bus.publish(TOPIC, "b".into(), None);
        listener.until("b").await;
    }
    bus.unsubscribe(TOPIC, inbox.into());
    bus.publish(TOPIC, "c".into(), None);
    bus.publish(Channel::Hub("another"), "the last".into(), None);
    other.until("c").await;
    assert_eq!(elsewhere.until("the last").await.len(), 1, "nothing of another topic");
    while let Ok(delivery) = one.0.try_recv() {
        assert!(!matches!(&delivery, BusDelivery::Event(text) if &**text == "c"), "it had unsubscribed");
    }
    drop(one);
    bus.publish(TOPIC, "d".into(), None);
    other.until("d").await;
}

#[test]
fn an_instance_on_its_own_tells_itself() {
    in_system(async { keeps_the_contract_at_home(&LocalBus::default()).await });
}

#[test]
fn instances_tell_each_other_and_themselves() {
    in_system(async {
        let redis = RedisServer::start().await;
        let (a, b) = (redis_bus(&redis).await, redis_bus(&redis).await);
        keeps_the_contract_at_home(&a).await;
        let (mut on_b, _inbox) = Listener::to(&b, TOPIC);
        heard(&a, &mut on_b).await;
        assert_eq!(redis.command(&["PUBSUB", "NUMSUB", "hubbub:hub:tests"]).await.texts()[1], "2");
    });
}

#[test]
fn what_is_said_while_redis_is_away_is_heard_at_home_and_the_loss_is_told() {
    in_system(async {
        let mut redis = RedisServer::start().await;
        let (a, b) = (redis_bus(&redis).await, redis_bus(&redis).await);
        let ((mut on_a, _one), (mut on_b, _other)) = (Listener::to(&a, TOPIC), Listener::to(&b, TOPIC));
        heard(&b, &mut on_a).await;
        heard(&a, &mut on_b).await;
        redis.stop().await;
        eventually("the loss is noticed", async || (!a.is_up(&TOPIC) && !b.is_up(&TOPIC)).then_some(())).await;
        a.publish(TOPIC, "alone".into(), None);
        on_a.until("alone").await;
        redis.restart().await;
        on_a.until_restored().await;
        on_b.until_restored().await;
        heard(&a, &mut on_b).await;
    });
}

/// Who could hear all the time must learn that somebody could not speak.
#[test]
fn what_one_could_not_say_is_made_up_for_on_all() {
    in_system(async {
        let redis = RedisServer::start().await;
        let network = Proxy::to(redis.address()).await;
        let (far, near) = (bus_to(&redis.url_at(network.address())).await, redis_bus(&redis).await);
        let (mut on_near, _inbox) = Listener::to(&near, TOPIC);
        let (mut elsewhere, _other) = Listener::to(&near, Channel::Hub("another"));
        heard(&far, &mut on_near).await;
        for trouble in [Proxy::cut_off as fn(&Proxy), Proxy::lose] {
            trouble(&network);
            far.publish(TOPIC, "nobody hears it".into(), None); // before it is noticed
            eventually("the loss is noticed", async || (!far.is_up(&TOPIC)).then_some(())).await;
            far.publish(TOPIC, "nobody hears that either".into(), None);
            network.resume();
            network.cut();
            on_near.until_restored().await;
            heard(&far, &mut on_near).await;
            assert!(near.is_up(&TOPIC), "it was well all the time");
        }
        near.publish(Channel::Hub("another"), "the last".into(), None);
        loop {
            match elsewhere.next().await {
                BusDelivery::Restored => {} // of its start
                BusDelivery::Event(text) => break assert_eq!(&*text, "the last"),
            }
        }
    });
}
