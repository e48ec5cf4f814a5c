//! What this instance knows to have changed, and when: the measure of everything that is cached.
//!
//! Nothing is deleted from a cache because it is stale. Each entry remembers how far the log of changes had been read when
//! its load began, each key says of which parts of the data it tells, and an entry counts only if none of them has changed
//! since. So a load that was slow, a Redis that came back with old data or a fill that came late can bring nothing back.
//! Pure: the log comes as an argument.

use std::collections::HashMap;

use crate::{
    ids::{ProjectId, UserId},
    store::{CHANGES_KEPT, Change, ChangeNo, Changes},
};

/// A part of the data that changes as a whole, as far as caches care.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tag {
    /// A project: whether it is there, its name and visibility, all that is deleted with it.
    Project(ProjectId),
    /// Which projects are public.
    Listing,
    /// What somebody is in a project.
    Member(ProjectId, UserId),
    /// In which projects somebody is a member.
    Memberships(UserId),
    /// A profile.
    Profile(UserId),
}

/// Changes remembered one by one. Beyond twice as many the older half becomes "before the floor".
const REMEMBERED: usize = 2 * CHANGES_KEPT as usize;

/// The changes as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Of which database, once its log was read.
    log: Option<i64>,
    /// All changes up to it are known.
    position: ChangeNo,
    /// What is not in `changed` may have changed at it.
    floor: ChangeNo,
    changed: HashMap<Tag, ChangeNo>,
    /// Counts how often the database was replaced under the hub.
    era: u32,
}

/// The state of a key's part of the data: an entry of before it is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Version {
    era: u32,
    changed: ChangeNo,
}

/// Which state of the data a load saw at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The database.
    pub(super) log: i64,
    /// Changes up to it are in.
    pub(super) position: ChangeNo,
}

impl Ledger {
    /// How far it goes.
    pub(super) fn position(&self) -> ChangeNo {
        self.position
    }

    /// The stamp of a load that begins now.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { log: self.log.unwrap_or_default(), position: self.position }
    }

    /// Takes in what the log said, asked for from [`position`](Self::position) on.
    pub(super) fn apply(&mut self, changes: &Changes) {
        if self.log != Some(changes.log) || changes.last < self.position {
            self.begin(changes);
        }
        if changes.last > self.position.saturating_add(CHANGES_KEPT) {
            // Some are forgotten already: everything may have changed.
            self.all_changed_at(changes.last - CHANGES_KEPT);
        }
        for (number, change) in &changes.entries {
            if *number > self.position {
                self.enter(*number, change);
                self.position = *number;
            }
        }
        self.position = changes.last;
        if self.changed.len() > REMEMBERED {
            self.floor = self.floor.max(self.position.saturating_sub(CHANGES_KEPT));
            let floor = self.floor;
            self.changed.retain(|_, changed| *changed > floor);
        }
    }

    /// The first reading, or the log of another database: what was known does not count.
    fn begin(&mut self, changes: &Changes) {
        let first = self.log.is_none();
        self.log = Some(changes.log);
        self.position = 0;
        self.era += 1;
        self.changed.clear();
        // A log that went back tells nothing of the entries of the time that is undone: none of before its next change
        // counts.
        self.floor = if first { 0 } else { changes.last + 1 };
    }

    fn enter(&mut self, number: ChangeNo, change: &Change) {
        let tag = match change {
            Change::Project(project) => Tag::Project(project.clone()),
            Change::Listing => Tag::Listing,
            Change::Member(project, user) => {
                self.changed.insert(Tag::Memberships(user.clone()), number);
                Tag::Member(project.clone(), user.clone())
            }
            Change::Profile(user) => Tag::Profile(user.clone()),
            Change::Everything => return self.all_changed_at(number),
        };
        self.changed.insert(tag, number);
    }

    fn all_changed_at(&mut self, number: ChangeNo) {
        self.changed.clear();
        self.floor = self.floor.max(number);
    }

    /// When the latest of these changed.
    pub(super) fn version(&self, tags: &[Tag]) -> Version {
        let changed = tags.iter().filter_map(|tag| self.changed.get(tag)).copied().max().unwrap_or_default();
        Version { era: self.era, changed: changed.max(self.floor) }
    }

    /// Whether an entry with that stamp is not older than the version. One from ahead of what is known here does not count
    /// either: it may be from a time that a restored backup undid.
    pub(super) fn counts(&self, stamp: Stamp, version: Version) -> bool {
        Some(stamp.log) == self.log && stamp.position >= version.changed && stamp.position <= self.position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: i64 = 7;

    fn project(id: &str) -> Tag {
        Tag::Project(id.parse().unwrap())
    }

    fn changes(last: ChangeNo, entries: &[(ChangeNo, Change)]) -> Changes {
        Changes { log: LOG, last, entries: entries.to_vec(), readers: Vec::new() }
    }

    fn changed(id: &str) -> Change {
        Change::Project(id.parse().unwrap())
    }

    #[test]
    fn an_entry_counts_until_one_of_its_tags_changes() {
        let mut ledger = Ledger::default();
        ledger.apply(&changes(3, &[(1, changed("p")), (2, Change::Listing), (3, changed("q"))]));
        let stamp = ledger.stamp();
        assert!(ledger.counts(stamp, ledger.version(&[project("p"), Tag::Listing])));
        ledger.apply(&changes(4, &[(4, changed("p"))]));
        assert!(!ledger.counts(stamp, ledger.version(&[project("p"), Tag::Listing])));
        assert!(ledger.counts(stamp, ledger.version(&[project("q"), Tag::Listing])));
    }

    #[test]
    fn a_member_change_concerns_the_role_and_the_list_of_the_user() {
        let mut ledger = Ledger::default();
        let (p, ada): (ProjectId, UserId) = ("p".parse().unwrap(), "ada".parse().unwrap());
        ledger.apply(&changes(0, &[]));
        let tags = [Tag::Member(p.clone(), ada.clone()), Tag::Memberships(ada.clone()), project("p")];
        let before = tags.clone().map(|tag| ledger.version(&[tag]));
        ledger.apply(&changes(1, &[(1, Change::Member(p, ada))]));
        let after = tags.map(|tag| ledger.version(&[tag]));
        assert!(before[0] != after[0] && before[1] != after[1] && before[2] == after[2]);
    }

    #[test]
    fn after_a_gap_everything_counts_as_changed() {
        let mut ledger = Ledger::default();
        ledger.apply(&changes(1, &[(1, changed("p"))]));
        let stamp = ledger.stamp();
        ledger.apply(&changes(CHANGES_KEPT + 2, &[]));
        assert!(!ledger.counts(stamp, ledger.version(&[project("anything")])));
        assert!(ledger.counts(ledger.stamp(), ledger.version(&[project("anything")])));
    }

    #[test]
    fn another_or_a_restored_database_makes_all_of_before_stale() {
        let mut ledger = Ledger::default();
        ledger.apply(&changes(9, &[(9, changed("p"))]));
        let (stamp, version) = (ledger.stamp(), ledger.version(&[project("q")]));
        ledger.apply(&changes(5, &[]));
        assert_ne!(ledger.version(&[project("q")]), version, "what is in memory is of another era");
        assert!(!ledger.counts(Stamp { position: 5, ..stamp }, ledger.version(&[project("q")])));
        ledger.apply(&changes(6, &[(6, changed("r"))]));
        assert!(ledger.counts(ledger.stamp(), ledger.version(&[project("q")])));

        ledger.apply(&Changes { log: 8, ..changes(6, &[]) });
        assert!(!ledger.counts(Stamp { log: LOG, position: 6 }, ledger.version(&[project("q")])));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ledger = Ledger::default();
        for number in 1..=(3 * REMEMBERED as u64) {
            ledger.apply(&changes(number, &[(number, changed(&format!("p{number}")))]));
        }
        assert!(ledger.changed.len() <= REMEMBERED);
        let old = Stamp { log: LOG, position: 1 };
        assert!(!ledger.counts(old, ledger.version(&[project("p1")])), "forgotten is not unchanged");
    }

    proptest! {
        /// Against a model that keeps everything: an entry that counts has no later change of its tags, however the log
        /// was read (in any pieces, with repeats, from any start).
        #[test]
        fn what_counts_is_never_stale(
            log in prop::collection::vec((0..6usize, any::<bool>()), 1..60),
            cuts in prop::collection::vec(1..8usize, 1..40),
            start in 0..30usize,
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let log: Vec<Change> = log.iter().map(|(which, all)| {
                if *all && *which == 0 { Change::Everything } else { changed(names[*which]) }
            }).collect();
            let mut ledger = Ledger::default();
            let mut stamps = Vec::new();
            let mut end = start.min(log.len());
            for cut in cuts.into_iter().chain([log.len()]) {
                let from = ledger.position() as usize;
                let entries: Vec<_> =
                    (from..end).map(|index| (index as u64 + 1, log[index].clone())).collect();
                ledger.apply(&changes(end as u64, &entries));
                ledger.apply(&changes(end as u64, &[])); // a second reading changes nothing
                stamps.push(ledger.stamp());
                for stamp in &stamps {
                    for name in names {
                        let stale = log[stamp.position as usize..end].iter().any(|change| {
                            *change == Change::Everything || *change == changed(name)
                        });
                        prop_assert_eq!(ledger.counts(*stamp, ledger.version(&[project(name)])), !stale);
                    }
                }
                end = (end + cut).min(log.len());
            }
        }
    }
}
