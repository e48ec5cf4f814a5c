//! A rolling restart behind the load balancer, with the configuration that `deploy` offers: nobody is seen to leave or to
//! come, nothing is missed, and each is sent away at a time of its own.

use std::time::{Duration, Instant};

use super::{
    book::Habits,
    check::Run,
    fleet::Crew,
    stage::{Stage, Volume},
    transcript::{Side, What},
    troubles::{Effect, Sides},
    world::{Setup, Times},
};
use crate::support::{Change, HaProxy, http::Http};

/// As an operator would have it, with signs of life often enough for a test.
const TIMES: Times =
    Times { heartbeat: Duration::from_millis(400), ttl: Duration::from_secs(30), grace: Duration::from_secs(5) };
/// Those who only listen: so many that sending them away takes a while.
const LISTENERS: usize = 400;
/// What the hub leaves between two goodbyes of a worker.
const GOODBYE: Duration = Duration::from_millis(2);

#[tokio::test]
async fn a_rolling_restart_behind_haproxy_is_quiet() {
    let mut setup = Setup::new(TIMES).with("TRUSTED_PROXIES", "127.0.0.1").with("WORKERS", "1");
    setup.direct = true;
    let mut proxy = None;
    let mut stage = Stage::set_behind(setup, async |hubs| {
        let haproxy = HaProxy::before(hubs).await;
        let door = vec![(None, haproxy.address())];
        proxy = Some(haproxy);
        Crew { door, listeners: LISTENERS, ..Crew::new(Habits::STEADY) }
    })
    .await;
    let proxy = proxy.expect("HAProxy");
    stage.fleet.talk(200).await;
    let boarded = Instant::now();
    let reading = tokio::spawn(read_on(Http::to(proxy.address())));
    let mut waves = Vec::new();
    for side in Side::BOTH {
        stage.fleet.talk(200).await;
        // Which instance a client is on is not known.
        let trouble =
            stage.world.trouble("an instance is restarted", Effect { closes: Sides::BOTH, ..Effect::default() });
        stage.world.hub(side).stop().await;
        let stopped = Instant::now();
        stage.fleet.assembled().await;
        stage.world.hub(side).restart().await;
        proxy.serves(if side == Side::A { "a" } else { "b" }).await;
        stage.world.mended(trouble);
        waves.push((stage.world.began(trouble), stopped));
    }
    assert!(!reading.is_finished(), "somebody who reads over HTTP was refused: {:?}", reading.await);
    reading.abort();
    let run = stage.judge().await;
    assert_nobody_moved(&run, boarded);
    for (from, until) in waves {
        assert_spread(&run, from, until);
    }
}

/// Reads one thing after the other over HTTP until that fails; gives the failure.
async fn read_on(http: Http) -> String {
    loop {
        let request = http.request(reqwest::Method::GET, "/api/projects/fault/rooms/r00/messages?limit=5");
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => return answer.status().to_string(),
            Err(error) => return format!("{error:?}"),
        }
    }
}

/// Nobody was seen to leave or to come, and nobody found a closed door.
fn assert_nobody_moved(run: &Run, since: Instant) {
    let mut tabs = 0;
    for transcript in &run.transcripts {
        for entry in transcript.entries.iter().filter(|entry| entry.at > since) {
            match &entry.what {
                What::Changed { room, changes } => {
                    for change in changes {
                        let moved =
                            matches!(change, Change::Join { first: true, .. } | Change::Leave { last: true, .. });
                        assert!(!moved, "client {} in {room} saw {change:?}", transcript.client);
                    }
                    tabs += changes.len();
                }
                What::ShutOut => panic!("client {} was not let in", transcript.client),
                _ => {}
            }
        }
    }
    assert!(tabs > LISTENERS, "everybody came anew: {:?}", Volume::of(run));
}

/// Those who were sent away were each given a time of their own, evenly spread, and not sent before it.
fn assert_spread(run: &Run, from: Instant, until: Instant) {
    let mut planned = Vec::new();
    for transcript in &run.transcripts {
        let mut told = None;
        for entry in transcript.entries.iter().filter(|entry| from < entry.at && entry.at < until) {
            match &entry.what {
                What::Drain { after_ms } => told = Some((entry.at, Duration::from_millis(*after_ms))),
                What::Lost { code } => {
                    let (at, after) = told.take().expect("told of the drain before the end");
                    assert_eq!(*code, 1012, "sent away in good order");
                    let stayed = entry.at - at;
                    // The frame may have been on its way for a while.
                    assert!(stayed + Duration::from_millis(100) > after, "sent away after {stayed:?} of {after:?}");
                    planned.push(after);
                }
                _ => {}
            }
        }
    }
    planned.sort();
    assert!(planned.len() > LISTENERS / 4, "{} were sent away", planned.len());
    for (after, place) in planned.iter().zip(1u32..) {
        let even = GOODBYE * place;
        assert!(after.abs_diff(even) < GOODBYE * 2, "the {place}th goes after {after:?} instead of {even:?}");
    }
}
