//! Somebody sets the wall clock of one instance, an hour ahead and an hour back: no time that is measured is measured by it.

use std::time::Duration;

use super::{
    book::Habits,
    fleet::Crew,
    stage::Stage,
    transcript::What,
    world::{BRISK, Setup},
};

const HOUR: i64 = 60 * 60;

#[tokio::test]
async fn the_wall_clock_of_an_instance_jumps() {
    let mut setup = Setup::new(BRISK);
    setup.clocks = true;
    let mut stage = Stage::set(setup, Crew::new(Habits::LIVELY)).await;
    let [a, b] = stage.world.clocks.take().expect("clocks");
    for (ahead_on_a, ahead_on_b) in [(HOUR, 0), (-HOUR, 0), (0, HOUR), (0, 0)] {
        a.jump_to(ahead_on_a);
        b.jump_to(ahead_on_b);
        stage.fleet.talk(200).await;
    }
    let run = stage.judge().await; // nothing explains anything
    // The clock did jump: messages say so.
    let now = chrono::Utc::now();
    let half_an_hour = Duration::from_secs(30 * 60);
    let messages =
        run.transcripts.iter().flat_map(|transcript| &transcript.entries).filter_map(|entry| match &entry.what {
            What::Told { message, .. } => {
                Some(message.sent_at.parse::<chrono::DateTime<chrono::Utc>>().expect("a time"))
            }
            _ => None,
        });
    let (mut ahead, mut behind) = (0, 0);
    for sent_at in messages {
        ahead += usize::from(sent_at > now + half_an_hour);
        behind += usize::from(sent_at < now - half_an_hour);
    }
    assert!(ahead > 100 && behind > 100, "{ahead} messages were sent in the future, {behind} in the past");
}
