//! Connections, the rooms they are in, and the fan-out among them.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use hubbub_bench::frame;
use hubbub_bench::link::Link;
use hubbub_bench::poller::Poller;
use hubbub_bench::upgrade;

use super::log::Log;

/// All connections and rooms.
pub struct Rooms {
    members: Vec<Option<Member>>,
    free: Vec<usize>,
    rooms: Vec<Room>,
    by_name: HashMap<String, usize>,
    /// The frame that goes out, blank where the payload is put.
    template: Vec<u8>,
    head_bytes: usize,
    gather: bool,
    log: Option<Log>,
    scratch: Vec<u8>,
    outgoing: Vec<u8>,
    deliveries: u64,
    /// Leave out every n-th delivery, if not 0.
    pub drop_every: u64,
    /// Repeat every n-th delivery, if not 0.
    pub repeat_every: u64,
}

struct Member {
    link: Link,
    room: Option<usize>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    batch: Vec<u8>,
}

impl Rooms {
    /// Frames of `frame_bytes` of payload; with `gather` they wait for [`Rooms::send_batches`].
    pub fn new(frame_bytes: usize, gather: bool, log: Option<Log>) -> Self {
        let mut template = Vec::new();
        frame::write_server(&mut template, frame::TEXT, &vec![b' '; frame_bytes]);
        Self {
            members: Vec::new(),
            free: Vec::new(),
            rooms: Vec::new(),
            by_name: HashMap::new(),
            head_bytes: template.len() - frame_bytes,
            template,
            gather,
            log,
            scratch: Vec::new(),
            outgoing: Vec::new(),
            deliveries: 0,
            drop_every: 0,
            repeat_every: 0,
        }
    }

    /// Takes a new connection.
    pub fn open(&mut self, socket: OwnedFd, poller: &Poller) -> io::Result<()> {
        let index = self.free.pop().unwrap_or(self.members.len());
        if index == self.members.len() {
            self.members.push(None);
        }
        poller.add(&socket, index)?;
        self.members[index] = Some(Member { link: Link::new(socket), room: None });
        Ok(())
    }

    /// Sends what waits for `index`.
    pub fn flush(&mut self, index: usize) {
        let flushed = self.member(index).map_or(Ok(()), |member| member.link.flush());
        if flushed.is_err() {
            self.close(index);
        }
    }

    /// Reads from `index` and sends what came in to its room.
    pub fn receive(&mut self, index: usize, to_the_end: bool) {
        let Some(member) = self.members.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let (template, head_bytes) = (&self.template, self.head_bytes);
        let (room, outgoing) = (&mut member.room, &mut self.outgoing);
        let (rooms, by_name) = (&mut self.rooms, &mut self.by_name);
        let mut replies = Vec::new();
        outgoing.clear();
        let received = member.link.receive(&mut self.scratch, to_the_end, |bytes| {
            let mut used = 0;
            if room.is_none() {
                let Some(request) = upgrade::read_request(bytes)? else {
                    return Ok(0);
                };
                replies.extend_from_slice(upgrade::response(request.key).as_bytes());
                let joined = *by_name.entry(request.path.to_owned()).or_insert_with(|| {
                    rooms.push(Room::default());
                    rooms.len() - 1
                });
                rooms[joined].members.push(index);
                *room = Some(joined);
                used = request.bytes;
            }
            let frames = frame::each(&mut bytes[used..], |opcode, payload| match opcode {
                frame::TEXT if head_bytes + payload.len() <= template.len() => {
                    let from = outgoing.len();
                    outgoing.extend_from_slice(template);
                    outgoing[from + head_bytes..][..payload.len()].copy_from_slice(payload);
                    Ok(())
                }
                frame::TEXT => Err(io::Error::other("a payload longer than --frame-bytes")),
                frame::CLOSE => Err(io::ErrorKind::UnexpectedEof.into()),
                frame::PING => {
                    frame::write_server(&mut replies, frame::PONG, payload);
                    Ok(())
                }
                _ => Ok(()),
            })?;
            Ok(used + frames)
        });
        let room = member.room;
        let replied = if replies.is_empty() { Ok(()) } else { member.link.send(&replies) };
        if let Some(room) = room {
            self.fan_out(room);
        }
        if received.is_err() || replied.is_err() {
            self.close(index);
        }
    }

    /// Whether anything waits for a tick.
    pub fn has_batches(&self) -> bool {
        self.gather && self.rooms.iter().any(|room| !room.batch.is_empty())
    }

    /// One write to each member of each room in which something was said; with a log it is there first, and each frame is
    /// a write of its own.
    pub fn send_batches(&mut self) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            self.rooms.iter().for_each(|room| log.put(&room.batch));
            log.sync()?;
        }
        let piece = if self.log.is_some() { self.template.len() } else { usize::MAX };
        for room in 0..self.rooms.len() {
            let batch = std::mem::take(&mut self.rooms[room].batch);
            for frames in batch.chunks(piece) {
                self.deliver(room, frames);
            }
            self.rooms[room].batch = batch;
            self.rooms[room].batch.clear();
        }
        Ok(())
    }

    fn fan_out(&mut self, room: usize) {
        if self.gather {
            self.rooms[room].batch.extend_from_slice(&self.outgoing);
            return;
        }
        let outgoing = std::mem::take(&mut self.outgoing);
        for frame in outgoing.chunks_exact(self.template.len()) {
            self.deliver(room, frame);
        }
        self.outgoing = outgoing;
    }

    fn deliver(&mut self, room: usize, bytes: &[u8]) {
        let mut broken = Vec::new();
        for &index in &self.rooms[room].members {
            self.deliveries += 1;
            if self.drop_every != 0 && self.deliveries.is_multiple_of(self.drop_every) {
                continue;
            }
            let Some(member) = self.members[index].as_mut() else {
                continue;
            };
            let mut sent = member.link.send(bytes);
            if self.repeat_every != 0 && self.deliveries.is_multiple_of(self.repeat_every) {
                sent = sent.and_then(|()| member.link.send(bytes));
            }
            if sent.is_err() {
                broken.push(index);
            }
        }
        for index in broken {
            self.close(index);
        }
    }

    fn member(&mut self, index: usize) -> Option<&mut Member> {
        self.members.get_mut(index)?.as_mut()
    }

    fn close(&mut self, index: usize) {
        let Some(member) = self.members[index].take() else {
            return;
        };
        if let Some(room) = member.room {
            self.rooms[room].members.retain(|&other| other != index);
        }
        self.free.push(index);
    }
}
