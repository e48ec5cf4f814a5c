//! Which rooms run on this instance, and how to reach them.
//!
//! A room starts on the thread of whoever asks for it first and ends by itself. Whoever is given a room holds a [`Lease`]
//! until the room has read what it was sent, so that a room never stops with somebody at the door. A room that died is
//! found dead here and started anew.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use actix::{Actor as _, Addr};
use tokio::sync::oneshot;

use super::{
    actor::RoomActor,
    messages::{DescribePresence, ForgetRoom, HandOverRoom, PublishMessage, RoomSlot},
    projects,
    window::ReplayBudget,
};
use crate::{
    bus::{Bus, Channel},
    config::RoomConfig,
    ids::{InstanceId, MessageId, ProjectId, RoomId},
    store::{Appended, Author, GroupCommit, RoomKey, Store, StoreError},
};

/// What every room of the hub shares.
pub struct RoomContext {
    /// This run of this hub.
    pub instance: InstanceId,
    /// Beats and ticks.
    pub config: RoomConfig,
    /// For history and healing.
    pub store: Arc<dyn Store>,
    /// For new messages.
    pub group_commit: GroupCommit,
    /// To the other instances.
    pub bus: Arc<dyn Bus>,
    /// What all rooms keep for those who come back.
    pub replay: Arc<ReplayBudget>,
    directory: Weak<Directory>,
}

impl RoomContext {
    /// Takes an idle room out of the directory, unless it has just been given out.
    pub(super) fn retire(&self, room: &RoomId, slot: RoomSlot) -> bool {
        self.directory.upgrade().is_none_or(|directory| directory.retire(room, slot, false))
    }

    /// Takes a room that ends anyway out of the directory.
    pub(super) fn retire_anyway(&self, room: &RoomId, slot: RoomSlot) {
        if let Some(directory) = self.directory.upgrade() {
            directory.retire(room, slot, true);
        }
    }
}

/// Keeps a room from stopping while it is alive.
#[derive(Debug)]
pub struct Lease(Arc<AtomicUsize>);

impl Lease {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a room counts, readable from any thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Presences(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    users: AtomicUsize,
    /// Connections of this instance, those in grace included.
    own: AtomicUsize,
}

impl Presences {
    pub(super) fn set(&self, users: usize, own: usize) {
        self.0.users.store(users, Ordering::Relaxed);
        self.0.own.store(own, Ordering::Relaxed);
    }
}

struct Entry {
    slot: RoomSlot,
    key: RoomKey,
    address: Addr<RoomActor>,
    leases: Arc<AtomicUsize>,
    online: Presences,
}

/// The rooms of this instance.
pub struct Directory {
    context: Arc<RoomContext>,
    rooms: Mutex<HashMap<RoomId, Entry>>,
    next_slot: AtomicU64,
}

impl Directory {
    /// An empty directory. Must be called in an actix system.
    pub fn new(
        instance: InstanceId,
        config: RoomConfig,
        store: Arc<dyn Store>,
        group_commit: GroupCommit,
        bus: Arc<dyn Bus>,
    ) -> Arc<Self> {
        let replay = ReplayBudget::new(config.replay_bytes_max);
        let this = Arc::new_cyclic(|directory| Self {
            context: Arc::new(RoomContext {
                instance,
                config,
                store,
                group_commit,
                bus,
                replay,
                directory: directory.clone(),
            }),
            rooms: Mutex::default(),
            next_slot: AtomicU64::new(0),
        });
        projects::listen(&this);
        this
    }

    pub(super) fn bus(&self) -> &dyn Bus {
        &*self.context.bus
    }

    /// The room, started on this thread if it does not run.
    pub fn open(&self, room: &RoomId, key: RoomKey) -> (Addr<RoomActor>, Lease) {
        let mut rooms = self.rooms();
        match rooms.get(room).filter(|entry| entry.address.connected()) {
            Some(entry) if entry.key == key => return (entry.address.clone(), Lease::take(&entry.leases)),
            // The project was deleted and made anew, unheard by this room.
            Some(entry) => entry.address.do_send(ForgetRoom { room: room.clone() }),
            None => {}
        }
        let slot = RoomSlot(self.next_slot.fetch_add(1, Ordering::Relaxed));
        let online = Presences::default();
        let actor = RoomActor::new(room.clone(), key, slot, Arc::clone(&self.context), online.clone());
        let entry = Entry { slot, key, address: actor.start(), leases: Arc::default(), online };
        let opened = (entry.address.clone(), Lease::take(&entry.leases));
        rooms.insert(room.clone(), entry);
        opened
    }

    /// Publishes a message that does not come from a connection.
    ///
    /// # Errors
    /// Those of [`GroupCommit::append`].
    pub async fn publish(
        &self,
        room: &RoomId,
        key: RoomKey,
        author: Author,
        id: MessageId,
        body: String,
    ) -> Result<Appended, StoreError> {
        let (address, lease) = self.open(room, key);
        let publish = PublishMessage { author, id, body, lease };
        address.send(publish).await.unwrap_or_else(|_| Err(StoreError::Unavailable("the room ended".into())))
    }

    /// Who is in the room on all instances, as JSON text `{"members_total":n,"members":[…]}`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the room cannot start now.
    pub async fn presence(&self, room: &RoomId, key: RoomKey) -> Result<String, StoreError> {
        let (address, lease) = self.open(room, key);
        let (reply, answer) = oneshot::channel();
        address.do_send(DescribePresence { reply, lease }); // one at a time per HTTP request
        answer.await.map_err(|_| StoreError::Unavailable("the room cannot be opened now".into()))
    }

    /// How many users are in the room as far as this instance knows; 0 when it does not run here.
    pub fn online(&self, room: &RoomId) -> usize {
        self.rooms().get(room).map_or(0, |entry| entry.online.0.users.load(Ordering::Relaxed))
    }

    /// How many connections of this instance the rooms remember, those in grace included: rooms whose other instances can
    /// be told.
    pub fn remembered(&self) -> usize {
        let rooms = self.rooms();
        let told = |room: &RoomId| self.context.bus.is_up(&Channel::Room(room.clone()));
        let own = |entry: &Entry| entry.online.0.own.load(Ordering::Relaxed);
        rooms.iter().filter(|(room, entry)| own(entry) > 0 && told(room)).map(|(_, entry)| own(entry)).sum()
    }

    /// How many users all rooms of this instance count together.
    pub fn online_in_all(&self) -> usize {
        self.rooms().values().map(|entry| entry.online.0.users.load(Ordering::Relaxed)).sum()
    }

    /// How many rooms run on this instance.
    pub fn room_count(&self) -> usize {
        self.rooms().len()
    }

    /// The rooms of a project that run on this instance.
    pub(super) fn rooms_of(&self, project: &ProjectId) -> Vec<(RoomId, Addr<RoomActor>)> {
        let rooms = self.rooms();
        let of_project = rooms.iter().filter(|(room, _)| room.project() == *project);
        of_project.map(|(room, entry)| (room.clone(), entry.address.clone())).collect()
    }

    /// The hub stops: every room finishes what it accepted and hands its people over.
    pub async fn hand_over(&self) {
        let pending: Vec<_> = self
            .rooms()
            .values()
            .map(|entry| {
                let (done, finished) = oneshot::channel();
                entry.address.do_send(HandOverRoom { done }); // once per room
                finished
            })
            .collect();
        for finished in pending {
            finished.await.ok(); // dropped is done
        }
    }

    fn retire(&self, room: &RoomId, slot: RoomSlot, anyway: bool) -> bool {
        let mut rooms = self.rooms();
        match rooms.get(room) {
            Some(entry) if entry.slot != slot => true,
            Some(entry) if !anyway && entry.leases.load(Ordering::Acquire) > 0 => false,
            _ => {
                rooms.remove(room);
                true
            }
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Entry>> {
        // The map is changed in single steps, so it is whole even if a holder panicked.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
