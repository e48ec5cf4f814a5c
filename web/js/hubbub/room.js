// @ts-check
/**
 * One joined room as the page sees it: who is here, where their cursors are, the messages in order, and the verbs. It joins again
 * after every reconnect and resumes from the last message it has. The state lives in roster, timeline and outbox; this is wiring.
 *
 * Events: `joined` `message` `presence` `cursors` `broadcast` `read` `delivery` `older` `reset` `state` `refused` (see README.md).
 */
import { CatchUp } from './catch-up.js';
import { Emitter } from './emitter.js';
import { Lanes } from './lanes.js';
import { Roster } from './roster.js';
import { Seat } from './seat.js';
import { Sender } from './sender.js';
import { Timeline } from './timeline.js';

/**
 * @typedef {object} Link what a room needs of its hub
 * @property {import('./environment.js').Environment} environment
 * @property {import('./history.js').HttpApi} api
 * @property {(frame: object) => 'sent' | 'offline' | 'too_large'} send
 * @property {() => boolean} isCongested
 * @property {() => number} nextRef
 * @property {(room: Room) => void} onLeft
 *
 * @typedef {object} JoinOptions
 * @property {Record<string, unknown>} [presence] this connection's state; default `{}`
 * @property {number} [history] how many of the latest messages come with the first join, 0 to 200; default 50
 * @property {number} [keep] how many messages are held; default 5,000
 * @property {number} [catchUpMost] how many missed messages are fetched after a long absence; default 5,000
 */

export class Room extends Emitter {
  #roster = new Roster();
  #timeline;
  #catchUp;
  #sender;
  #seat;
  #lanes;
  /** @type {Promise<import('./protocol.js').Message[]> | null} */
  #loadingOlder = null;

  /**
   * @param {string} name
   * @param {Link} link
   * @param {JoinOptions} options
   */
  constructor(name, link, { presence = {}, history = 50, keep, catchUpMost = 5_000 }) {
    super();
    this.name = name;
    this.link = link;
    this.#timeline = new Timeline({ keep });
    this.#lanes = new Lanes({ room: name, link, presence });
    this.#seat = new Seat({
      link,
      joinFrame: () => {
        const { head } = this.#timeline;
        const from = head === null ? { history } : { since: head };
        return { type: 'join', room: name, presence: this.#lanes.forJoin(), ...from };
      },
      onState: (state) => this.#seatChanged(state),
    });
    this.#sender = new Sender({
      room: name,
      link,
      onChange: (entry) => this.emit('delivery', entry),
      onNotJoined: () => this.rejoin(),
    });
    this.#catchUp = new CatchUp({
      room: name,
      timeline: this.#timeline,
      link,
      most: catchUpMost,
      isWanted: () => this.state === 'joined',
      onAccepted: (accepted) => this.#deliver(accepted, true),
      onSkipped: (gap) => this.emit('reset', { gap }),
    });
  }

  /** `joining` (also while the connection is away), `joined`, `refused`, `left` */
  get state() {
    return this.#seat.state;
  }

  /** Why the room was `refused`. */
  get error() {
    return this.#seat.error;
  }

  /** Users in the room by id, each with their connections. */
  get members() {
    return this.#roster.members;
  }

  /** Users in the room; more than `members` holds where there are over 200. */
  get membersTotal() {
    return this.#roster.total;
  }

  /** Positions by connection id. */
  get cursors() {
    return this.#roster.cursors;
  }

  /** @param {string} connectionId */
  ownerOf(connectionId) {
    return this.#roster.ownerOf(connectionId);
  }

  /** Messages held, oldest first, without holes. */
  get messages() {
    return this.#timeline.messages;
  }

  /** Own messages that are pending or failed. */
  get outgoing() {
    return this.#sender.entries;
  }

  get hasOlder() {
    return this.#timeline.head !== null && this.#timeline.first > 1;
  }

  /**
   * Sends a durable message. It is pending until the hub has stored it, whatever happens to the connection in between.
   * @param {unknown} body any JSON
   */
  send(body) {
    const delivery = this.#sender.post(body ?? null);
    if (this.state === 'left' || this.state === 'refused') this.#endSending();
    return delivery;
  }

  /** @param {string} id of a failed message */
  retry(id) {
    return this.#sender.retry(id);
  }

  /** @param {string} id of a failed message */
  discard(id) {
    return this.#sender.discard(id);
  }

  /** @param {Record<string, unknown>} state replaces this connection's state; at most 4 KiB as JSON */
  setPresence(state) {
    this.#lanes.setPresence(state);
  }

  /** @param {Record<string, unknown> | null} position at most 1 KiB as JSON; null hides the cursor; call as often as you like */
  moveCursor(position) {
    this.#lanes.moveCursor(position);
  }

  /** @param {number} seq of the last message that this user has read */
  markRead(seq) {
    this.#lanes.markRead(seq);
  }

  /**
   * Tells everyone else who is here now; nobody hears it later.
   * @param {string} event
   * @param {unknown} [data]
   * @returns {boolean} whether it was sent
   */
  broadcast(event, data = null) {
    return this.state === 'joined' && this.link.send({ type: 'broadcast', room: this.name, event, data }) === 'sent';
  }

  /**
   * Loads a page of older messages in front of `messages`, and says so by `older`.
   * @param {number} [limit]
   * @returns {Promise<import('./protocol.js').Message[]>} what was loaded, oldest first; rejects when HTTP fails
   */
  loadOlder(limit = 50) {
    if (!this.hasOlder) return Promise.resolve([]);
    this.#loadingOlder ??= this.link.api
      .messages(this.name, { before: this.#timeline.first, limit })
      .then((page) => {
        const messages = this.#timeline.prepend(page);
        if (messages.length > 0) this.emit('older', { messages });
        return messages;
      })
      .finally(() => (this.#loadingOlder = null));
    return this.#loadingOlder;
  }

  leave() {
    if (this.state === 'left') return;
    this.link.send({ type: 'leave', ref: this.link.nextRef(), room: this.name });
    this.#seat.leave();
    this.#endSending();
    this.link.onLeft(this);
  }

  // --- called by the hub ---

  /** There is a connection, or the hub does not see us in the room although there was one. */
  rejoin() {
    this.#seat.ask();
  }

  disconnected() {
    if (this.state === 'joined' || this.state === 'joining') this.#seat.lose();
  }

  /** @param {any} frame of this room */
  receive(frame) {
    switch (frame.type) {
      case 'joined':
        return this.#seat.joined(frame) && this.#enter(frame);
      case 'message':
        return this.#deliver(this.#timeline.accept([frame]), false);
      case 'ack':
        return this.#sender.delivered(frame.id, frame.seq);
      case 'presence':
        return this.emit('presence', this.#roster.apply(frame));
      case 'cursors':
        this.#roster.moveCursors(frame.cursors);
        return this.emit('cursors', { cursors: frame.cursors });
      case 'broadcast':
      case 'read':
        return this.emit(frame.type, frame);
    }
  }

  /**
   * @param {import('./protocol.js').ErrorFrame} error
   * @returns {boolean} whether it answered something of this room
   */
  refused(error) {
    return this.#seat.refused(error) || this.#lanes.refused(error) || this.#sender.refused(error);
  }

  // --- inside ---

  /** @param {import('./protocol.js').JoinedFrame} frame */
  #enter(frame) {
    this.#roster.reset(frame);
    const first = this.#timeline.head === null;
    if (first) {
      this.#timeline.start(frame.messages, frame.seq);
      for (const { id, seq } of frame.messages) this.#sender.delivered(id, seq);
    }
    this.emit('joined', { first, recovered: first || frame.recovered, seq: frame.seq });
    if (!first) this.#deliver(this.#timeline.accept(frame.messages), true);
    if (this.state !== 'joined') return; // the room turned out to be another one, or a listener left it
    this.#timeline.expect(frame.seq);
    void this.#catchUp.run();
    this.#sender.open();
    this.#lanes.open();
  }

  /**
   * @param {ReturnType<Timeline['accept']>} accepted
   * @param {boolean} replayed
   */
  #deliver({ delivered, conflict }, replayed) {
    if (conflict) return this.#startOver();
    for (const message of delivered) {
      this.#sender.delivered(message.id, message.seq);
      this.emit('message', { ...message, replayed });
    }
    if (this.#timeline.hole) void this.#catchUp.run();
  }

  /** The hub's data was replaced behind our back: what we hold is of another room, and its `seq` means nothing here. */
  #startOver() {
    this.#timeline.clear();
    this.emit('reset', { gap: null });
    this.rejoin();
  }

  #endSending() {
    this.#sender.end(this.error ?? { code: 'left', message: 'the room was left' });
  }

  /** @param {Room['state']} state */
  #seatChanged(state) {
    if (state !== 'joined') {
      this.#sender.pause();
      this.#lanes.close();
    }
    this.emit('state', state);
    if (state !== 'refused') return;
    this.#endSending();
    this.emit('refused', this.error);
  }
}
