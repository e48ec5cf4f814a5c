//! What a key is: it knows its name in Redis, what it tells of, how long it is kept, and the type of its value.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{
    ledger::Tag,
    value::{Ids, Page, RoomNames, Value},
};
use crate::{
    clock::Duration,
    config::CacheLifetimes,
    ids::{ProjectId, RoomId, Seq, UserId},
    store::{Project, ProjectExtent, ProjectFilter, Role, RoomKey, SearchPlace, UserProfile},
};

/// How long something is kept at most, by what it is. The times are settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Projects, roles, the places of rooms: what is asked for with every request.
    Access,
    /// Lists of projects.
    Projects,
    /// Lists of rooms.
    Rooms,
    /// The newest page of a room's messages.
    History,
    /// Pages of messages that can never change.
    OldHistory,
    /// What a search found.
    Search,
    /// Profiles.
    Profiles,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Access, Self::Projects, Self::Rooms, Self::History, Self::OldHistory, Self::Search, Self::Profiles];

    /// Its name in figures and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Projects => "projects",
            Self::Rooms => "rooms",
            Self::History => "history",
            Self::OldHistory => "old_history",
            Self::Search => "search",
            Self::Profiles => "profiles",
        }
    }
}

impl Class {
    pub(super) fn lifetime(self, lifetimes: &CacheLifetimes) -> Duration {
        match self {
            Self::Access => lifetimes.access,
            Self::Projects => lifetimes.projects,
            Self::Rooms => lifetimes.rooms,
            Self::History => lifetimes.history,
            Self::OldHistory => lifetimes.old_history,
            Self::Search => lifetimes.search,
            Self::Profiles => lifetimes.profiles,
        }
    }
}

/// A key. Invariant: two keys of one name are of one type, and tell of the same.
pub trait Key: Clone + Send + Sync + 'static {
    /// What is kept under it.
    type Value: Value;

    /// How long it is kept.
    fn class(&self) -> Class;

    /// Its name after `{prefix}cache:`. What belongs to a project begins with the project's name and a colon.
    fn name(&self, out: &mut String);

    /// The parts of the data whose change makes it stale.
    fn tags(&self) -> Vec<Tag>;

    /// Whether a value is worth keeping. Absence is kept only where its end is a change of a tag, too.
    fn keeps(&self, _value: &Self::Value) -> bool {
        true
    }

    /// Whether instances spare each other the load: one loads, the others wait for what it brings to Redis.
    fn is_expensive(&self) -> bool {
        false
    }
}

fn put(out: &mut String, parts: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(parts);
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// A project as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectKey(pub ProjectId);

impl Key for ProjectKey {
    type Value = Option<Project>;

    fn class(&self) -> Class {
        Class::Access
    }

    fn name(&self, out: &mut String) {
        put(out, format_args!("{}:project", self.0.as_str()));
    }

    fn tags(&self) -> Vec<Tag> {
        vec![Tag::Project(self.0.clone())]
    }

    /// Anybody may ask for names that are not there; they are not worth their room.
    fn keeps(&self, value: &Self::Value) -> bool {
        value.is_some()
    }
}

/// The stored role of a user; absence is kept, for most who come to a public project have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKey(pub ProjectId, pub UserId);

impl Key for RoleKey {
    type Value = Option<Role>;

    fn class(&self) -> Class {
        Class::Access
    }

    fn name(&self, out: &mut String) {
        put(out, format_args!("{}:role:{}", self.0.as_str(), self.1.as_str()));
    }

    fn tags(&self) -> Vec<Tag> {
        // Members who go with their project are no changes of their own.
        vec![Tag::Member(self.0.clone(), self.1.clone()), Tag::Project(self.0.clone())]
    }
}

/// A user's profile; absence is kept, for most whom a token names have none here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileKey(pub UserId);

impl Key for ProfileKey {
    type Value = Option<UserProfile>;

    fn class(&self) -> Class {
        Class::Profiles
    }

    fn name(&self, out: &mut String) {
        put(out, format_args!("-profile:{}", self.0.as_str()));
    }

    fn tags(&self) -> Vec<Tag> {
        vec![Tag::Profile(self.0.clone())]
    }
}

/// The database's number of a room: never changes, and never comes back once the room went with its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPlaceKey(pub RoomId);

impl Key for RoomPlaceKey {
    type Value = Option<RoomKey>;

    fn class(&self) -> Class {
        Class::Access
    }

    fn name(&self, out: &mut String) {
        put(out, format_args!("{}:room:{}", self.0.project().as_str(), self.0.room()));
    }

    fn tags(&self) -> Vec<Tag> {
        vec![Tag::Project(self.0.project())]
    }

    /// That a room is made is no change that anybody writes down.
    fn keeps(&self, value: &Self::Value) -> bool {
        value.is_some()
    }
}

/// The ids on a page of projects; the projects themselves are kept one by one.
#[derive(Debug, Clone)]
pub struct ProjectsPageKey {
    /// For whom.
    pub filter: ProjectFilter,
    /// Beginning after it.
    pub after: Option<ProjectId>,
    /// At most so many.
    pub limit: u32,
}

impl Key for ProjectsPageKey {
    type Value = Ids;

    fn class(&self) -> Class {
        Class::Projects
    }

    fn name(&self, out: &mut String) {
        // No project's name begins with a hyphen. What a token names may be long.
        let named = self.filter.named.iter().map(ProjectId::as_str).collect::<Vec<_>>().join(" ");
        let named = Sha256::digest(named.as_bytes());
        put(out, format_args!("-projects:{}:", self.limit));
        for byte in &named[..16] {
            put(out, format_args!("{byte:02x}"));
        }
        let after = self.after.as_ref().map_or("", ProjectId::as_str);
        put(out, format_args!(":{}:{after}:", u8::from(self.filter.public)));
        if let Some(member) = &self.filter.member {
            put(out, format_args!("of:{}", member.as_str()));
        }
    }

    fn tags(&self) -> Vec<Tag> {
        let listing = self.filter.public.then_some(Tag::Listing);
        let memberships = self.filter.member.iter().cloned().map(Tag::Memberships);
        let named = self.filter.named.iter().cloned().map(Tag::Project);
        listing.into_iter().chain(memberships).chain(named).collect()
    }

    fn is_expensive(&self) -> bool {
        true
    }
}

/// What never changes of the rooms on a page, by their numbers: the page itself is read anew each time.
#[derive(Debug, Clone)]
pub struct RoomNamesKey {
    /// The project.
    pub project: ProjectId,
    /// The numbers of the rooms on the page.
    pub rooms: Vec<RoomKey>,
}

impl Key for RoomNamesKey {
    type Value = RoomNames;

    fn class(&self) -> Class {
        Class::Rooms
    }

    fn name(&self, out: &mut String) {
        let mut hash = Sha256::new();
        self.rooms.iter().for_each(|room| hash.update(room.0.to_be_bytes()));
        put(out, format_args!("{}:rooms:{}:", self.project.as_str(), self.rooms.len()));
        for byte in &hash.finalize()[..16] {
            put(out, format_args!("{byte:02x}"));
        }
    }

    fn tags(&self) -> Vec<Tag> {
        Vec::new()
    }
}

/// Where a page of messages lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The latest ones before it, newest first.
    Before(Seq),
    /// The first ones after it, oldest first.
    After(Seq),
}

/// A page of messages that can never change, as it is sent: nothing is put between or taken from what has its place. The
/// newest page is the one before the room's head plus one, with a head that was just read.
#[derive(Debug, Clone)]
pub struct HistoryKey {
    /// Whose room it is.
    pub project: ProjectId,
    /// The room.
    pub room: RoomKey,
    /// Where it lies.
    pub span: Span,
    /// At most so many.
    pub limit: u32,
    /// It will be asked for only until the next message comes.
    pub newest: bool,
}

impl Key for HistoryKey {
    type Value = Page;

    fn class(&self) -> Class {
        if self.newest { Class::History } else { Class::OldHistory }
    }

    fn name(&self, out: &mut String) {
        let (side, seq) = match self.span {
            Span::Before(seq) => ('b', seq),
            Span::After(seq) => ('a', seq),
        };
        put(out, format_args!("{}:history:{}:{side}{seq}:{}", self.project.as_str(), self.room.0, self.limit));
    }

    fn tags(&self) -> Vec<Tag> {
        Vec::new()
    }
}

/// What a search found while the messages were these, as it is sent.
#[derive(Debug, Clone)]
pub struct SearchKey {
    /// Whose messages.
    pub project: ProjectId,
    /// Only those of this room.
    pub room: Option<RoomKey>,
    /// How many there were: of the project, or of the room.
    pub extent: ProjectExtent,
    /// As they were asked for.
    pub words: String,
    /// Only messages before this place.
    pub before: SearchPlace,
    /// At most so many.
    pub limit: u32,
}

impl Key for SearchKey {
    type Value = Page;

    fn class(&self) -> Class {
        Class::Search
    }

    fn name(&self, out: &mut String) {
        let ProjectExtent { rooms, messages } = self.extent;
        let (room, before) = (self.room.map_or(0, |room| room.0), self.before.number());
        let project = self.project.as_str();
        put(out, format_args!("{project}:search:{room}:{rooms}:{messages}:{before}:{}:", self.limit));
        // They may be long, and are what somebody looked for.
        for byte in &Sha256::digest(self.words.as_bytes())[..16] {
            put(out, format_args!("{byte:02x}"));
        }
    }

    fn tags(&self) -> Vec<Tag> {
        // Another project of the name may come to the same numbers.
        vec![Tag::Project(self.project.clone())]
    }

    fn is_expensive(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(key: &impl Key) -> String {
        let mut name = String::new();
        key.name(&mut name);
        name
    }

    #[test]
    fn names_are_apart_and_begin_with_their_project() {
        let (p, ada): (ProjectId, UserId) = ("p".parse().unwrap(), "a:d a".parse().unwrap());
        let history = |span, limit| HistoryKey { project: p.clone(), room: RoomKey(7), span, limit, newest: false };
        let rooms =
            |rooms: &[i64]| RoomNamesKey { project: p.clone(), rooms: rooms.iter().copied().map(RoomKey).collect() };
        let names = [
            name(&ProjectKey(p.clone())),
            name(&RoleKey(p.clone(), ada)),
            name(&RoomPlaceKey("p/project".parse().unwrap())),
            name(&history(Span::Before(9), 50)),
            name(&history(Span::After(9), 50)),
            name(&history(Span::After(9), 5)),
            name(&rooms(&[1, 2])),
            name(&rooms(&[2, 1])),
        ];
        assert!(names.iter().all(|name| name.starts_with("p:")), "{names:?}");
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn lists_are_told_apart_by_who_asks_and_never_look_like_a_project() {
        let list = |member: Option<&str>, named: &[&str], public, after: Option<&str>, limit| ProjectsPageKey {
            filter: ProjectFilter {
                member: member.map(|user| user.parse().unwrap()),
                named: named.iter().map(|project| project.parse().unwrap()).collect(),
                public,
            },
            after: after.map(|project| project.parse().unwrap()),
            limit,
        };
        let lists = [
            list(None, &[], true, None, 50),
            list(None, &[], false, None, 50),
            list(None, &[], true, Some("a"), 50),
            list(None, &[], true, None, 51),
            list(None, &["a"], true, None, 50),
            list(None, &["a", "b"], true, None, 50),
            list(Some("a"), &[], true, None, 50),
            list(Some("b"), &[], true, None, 50),
        ];
        let names: HashSet<_> = lists.iter().map(name).collect();
        assert_eq!(names.len(), lists.len());
        assert!(names.iter().all(|name| name.starts_with('-')));
        assert_eq!(lists[5].tags().len(), 3);
    }
}
