//! A load that checks every answer: many clients on two instances read and write, and nobody ever gets a project as it was
//! before a write that had been answered when they asked.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::json;

use super::{User, warm};
use crate::support::{TestCluster, TestHub, eventually_within, poll::PATIENCE, resp::Reply, tokens::SECRET};

const PROJECTS: usize = 300;
const CLIENTS: usize = 16;
/// Of a hundred requests so many write.
const WRITES_PERCENT: f64 = 1.0;
/// Each client's.
const REQUESTS: usize = 600;

/// The latest answered version of each project, and the latest that was begun.
struct Ledger {
    answered: Vec<AtomicU64>,
    begun: Vec<AtomicU64>,
    locks: Vec<tokio::sync::Mutex<()>>,
    requests: AtomicU64,
}

/// Zipf's law: the n-th is asked for with a likelihood of 1/n.
fn zipf(random: &mut SmallRng, weights: &[f64]) -> usize {
    let at = random.random_range(0.0..weights[weights.len() - 1]);
    weights.partition_point(|sum| *sum <= at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_older_than_the_last_answered_write() {
    let cluster = TestCluster::with(&[("JWT_SECRET", SECRET)]).await;
    warm(&cluster.a).await;
    warm(&cluster.b).await;
    let maker = User::of(&cluster.a, "ada");
    for n in 0..PROJECTS {
        maker.make(&format!("p{n}")).await;
        maker.rename(&format!("p{n}"), "0").await;
    }
    let zeros = || (0..PROJECTS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let locks = (0..PROJECTS).map(|_| tokio::sync::Mutex::new(())).collect();
    let ledger = Arc::new(Ledger { answered: zeros(), begun: zeros(), locks, requests: AtomicU64::new(0) });
    let weights: Arc<Vec<f64>> = Arc::new(
        (1..=PROJECTS)
            .scan(0.0, |sum, n| {
                *sum += 1.0 / n as f64;
                Some(*sum)
            })
            .collect(),
    );
    let before = [hits(&cluster.a).await, hits(&cluster.b).await];
    let clients = (0..CLIENTS).map(|client| {
        let users = [User::of(&cluster.a, "ada"), User::of(&cluster.b, "ada")];
        tokio::spawn(client_run(client, users, Arc::clone(&ledger), Arc::clone(&weights)))
    });
    // Meanwhile the bus and the memory of Redis are disturbed.
    let disturb = async {
        for share in [1, 2] {
            let due = (CLIENTS * REQUESTS * share / 3) as u64;
            let reached = async || (ledger.requests.load(Ordering::Relaxed) >= due).then_some(());
            eventually_within(PATIENCE * 6, "a third of the requests was made", reached).await;
            assert!(matches!(cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await, Reply::Number(_)));
            cluster.redis.command(&["FLUSHALL"]).await;
        }
    };
    let (done, ()) = tokio::join!(join_all(clients), disturb);
    let (reads, writes) = done.into_iter().fold((0, 0), |(reads, writes), client| {
        let (read, written) = client.expect("a client that finished");
        (reads + read, writes + written)
    });
    assert!(reads > 5_000 && writes > 20, "{reads} reads, {writes} writes");
    let after = [hits(&cluster.a).await, hits(&cluster.b).await];
    let (hit, asked) = before
        .iter()
        .zip(&after)
        .fold((0, 0), |(hit, asked), (before, after)| (hit + after.0 - before.0, asked + after.1 - before.1));
    let rate = hit as f64 * 100.0 / asked as f64;
    assert!(rate > 90.0, "{rate:.1} % of {asked} were found, with {reads} reads and {writes} writes");
}

/// Hits, and all that was asked.
async fn hits(hub: &TestHub) -> (u64, u64) {
    let health = hub.http().get("/api/health").await.json();
    let figure = |name: &str| health["cache"][name].as_u64().expect("a number");
    (figure("hits"), figure("total_operations"))
}

async fn client_run(client: usize, users: [User; 2], ledger: Arc<Ledger>, weights: Arc<Vec<f64>>) -> (u64, u64) {
    let mut random = SmallRng::seed_from_u64(client as u64);
    let (mut reads, mut writes) = (0, 0);
    for _ in 0..REQUESTS {
        ledger.requests.fetch_add(1, Ordering::Relaxed);
        let project = zipf(&mut random, &weights);
        let user = &users[random.random_range(0..2usize)];
        let id = format!("p{project}");
        if random.random_bool(WRITES_PERCENT / 100.0) {
            let _one_at_a_time = ledger.locks[project].lock().await;
            let version = ledger.begun[project].load(Ordering::SeqCst) + 1;
            ledger.begun[project].store(version, Ordering::SeqCst);
            user.rename(&id, &version.to_string()).await;
            ledger.answered[project].store(version, Ordering::SeqCst);
            writes += 1;
        } else {
            let least = ledger.answered[project].load(Ordering::SeqCst);
            let answer = user.get(&format!("/api/projects/{id}")).await;
            let most = ledger.begun[project].load(Ordering::SeqCst);
            let seen: u64 = answer.json()["name"].as_str().and_then(|name| name.parse().ok()).expect("a version");
            assert!(
                (least..=most).contains(&seen),
                "{id} was {seen}, though {least} had been answered ({most} was begun): {}",
                json!({"cache": answer.header("x-cache"), "timing": answer.header("server-timing")}),
            );
            reads += 1;
        }
    }
    (reads, writes)
}
