//! What waits to be committed, by room: pure, the writer asks it what goes next.

use std::collections::{HashMap, VecDeque};

use crate::store::RoomKey;

/// Jobs in a lane for each room. Within a room they leave in the order they came; between rooms the room is shared fairly,
/// and a room of which a batch is under way waits until that is settled.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    lanes: HashMap<RoomKey, Lane<T>>,
    /// Rooms with something to take, the one that waited longest first.
    ready: VecDeque<RoomKey>,
    waiting: usize,
}

#[derive(Debug)]
struct Lane<T> {
    jobs: VecDeque<T>,
    under_way: bool,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), waiting: 0 }
    }
}

impl<T> FairQueue<T> {
    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many jobs of a room wait.
    pub(super) fn waiting_of(&self, room: RoomKey) -> usize {
        self.lanes.get(&room).map_or(0, |lane| lane.jobs.len())
    }

    /// Whether something can be taken now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn push(&mut self, room: RoomKey, job: T) {
        let lane = self.lanes.entry(room).or_insert_with(|| Lane { jobs: VecDeque::new(), under_way: false });
        if lane.jobs.is_empty() && !lane.under_way {
            self.ready.push_back(room);
        }
        lane.jobs.push_back(job);
        self.waiting += 1;
    }

    /// Takes up to `most` jobs: an equal share from each room that is ready, then what is left over from the rooms that
    /// have more. The rooms are under way until [`settled`](Self::settled).
    pub(super) fn take(&mut self, most: usize) -> (Vec<RoomKey>, Vec<T>) {
        let (mut rooms, mut taken) = (Vec::new(), Vec::with_capacity(most.min(self.waiting)));
        let share = (most / self.ready.len().max(1)).max(1);
        while taken.len() < most
            && let Some(room) = self.ready.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&room) else { continue };
            let count = share.min(most - taken.len()).min(lane.jobs.len());
            taken.extend(lane.jobs.drain(..count));
            lane.under_way = true;
            rooms.push(room);
        }
        for room in &rooms {
            let Some(lane) = self.lanes.get_mut(room) else { continue };
            let count = (most - taken.len()).min(lane.jobs.len());
            taken.extend(lane.jobs.drain(..count));
        }
        self.waiting -= taken.len();
        (rooms, taken)
    }

    /// The batch with jobs of these rooms is answered.
    pub(super) fn settled(&mut self, rooms: &[RoomKey]) {
        for room in rooms {
            let Some(lane) = self.lanes.get_mut(room) else { continue };
            lane.under_way = false;
            if lane.jobs.is_empty() {
                self.lanes.remove(room);
            } else {
                self.ready.push_back(*room);
            }
        }
    }

    /// Takes everything, for an end.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.waiting = 0;
        self.ready.clear();
        std::mem::take(&mut self.lanes).into_values().flat_map(|lane| lane.jobs)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_busy_room_leaves_the_others_their_share() {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|n| queue.push(RoomKey(1), (1, n)));
        (2..5).for_each(|room| queue.push(RoomKey(room), (room, 0)));
        let (rooms, batch) = queue.take(16);
        assert_eq!(rooms, [1, 2, 3, 4].map(RoomKey));
        assert_eq!(batch.iter().filter(|(room, _)| *room == 1).count(), 13, "the rest goes to who has more");
        assert_eq!(queue.waiting(), 987);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(i64),
        Take(usize),
        Settle(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0i64..6).prop_map(Step::Push),
            1 => (1usize..8).prop_map(Step::Take),
            1 => (0usize..4).prop_map(Step::Settle),
        ]
    }

    proptest! {
        #[test]
        fn each_job_leaves_once_in_its_rooms_order_and_no_room_is_under_way_twice(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut queue = FairQueue::default();
            let (mut pushed, mut taken) = (HashMap::<i64, u64>::new(), HashMap::<i64, u64>::new());
            let mut under_way: Vec<Vec<RoomKey>> = Vec::new();
            let mut check = |queue: &mut FairQueue<(i64, u64)>, under_way: &mut Vec<Vec<RoomKey>>, most| {
                let (rooms, batch) = queue.take(most);
                assert!(batch.len() <= most);
                let busy: HashSet<_> = under_way.iter().flatten().collect();
                assert!(rooms.iter().all(|room| !busy.contains(room)));
                for (room, number) in batch {
                    assert!(rooms.contains(&RoomKey(room)));
                    let next = taken.entry(room).or_default();
                    assert_eq!(number, *next);
                    *next += 1;
                }
                under_way.push(rooms);
            };
            for step in steps {
                match step {
                    Step::Push(room) => {
                        let number = pushed.entry(room).or_default();
                        queue.push(RoomKey(room), (room, *number));
                        *number += 1;
                    }
                    Step::Take(most) => check(&mut queue, &mut under_way, most),
                    Step::Settle(nth) if nth < under_way.len() => queue.settled(&under_way.swap_remove(nth)),
                    Step::Settle(_) => {}
                }
            }
            while queue.waiting() > 0 || !under_way.is_empty() {
                under_way.drain(..).for_each(|rooms| queue.settled(&rooms));
                prop_assert_eq!(queue.is_ready(), queue.waiting() > 0);
                check(&mut queue, &mut under_way, 3);
                under_way.drain(..).for_each(|rooms| queue.settled(&rooms));
            }
            prop_assert_eq!(pushed, taken);
            prop_assert!(queue.lanes.is_empty());
        }
    }
}
