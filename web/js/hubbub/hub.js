// @ts-check
/**
 * The hub as a page holds it: one connection, many rooms. Hands each frame to its room, lets every room join again after a
 * reconnect, and keeps the token fresh. See README.md for the events.
 */
import { apiRequest, hubAddress, socketUrl, withSession } from './address.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { browserEnvironment } from './environment.js';
import { HttpApi } from './history.js';
import { Session } from './login.js';
import { parseRoom } from './protocol.js';
import { Room } from './room.js';

/**
 * @typedef {object} HubOptions
 * @property {string} [url] of the hub: `ws(s)://…` or `http(s)://…`; default: where the page comes from
 * @property {string | ((occasion: 'first' | 'again' | 'expired') => string | Promise<string>)} [token] a JWT, or how to get one.
 *   A function is asked for every connection; on `expired` it must not return the same token again.
 * @property {import('./login.js').Login} [login] in place of `token` and `name`: log in once, as a guest, by token or by code; the
 *   browser keeps the session. The hub must be on the page's own site.
 * @property {string} [name] display name of a guest, where there is no token
 * @property {string} [guestId] a UUID that tells guests of one name apart and makes several tabs one user
 * @property {Partial<import('./environment.js').Environment>} [environment] in place of the browser's
 */

export class Hub extends Emitter {
  /** @type {import('./protocol.js').User | null} who the hub says we are */
  user = null;
  /** @type {string | null} another one after each reconnect */
  connectionId = null;
  /** @type {Map<string, Room>} */
  rooms = new Map();

  #ref = 0;
  /** @type {string | null} */
  #token = null;
  #options;
  #address;
  #connection;
  #session;

  /** @param {HubOptions} options */
  constructor(options) {
    super();
    const environment = { ...browserEnvironment(), ...options.environment };
    this.#options = options;
    this.#address = hubAddress(options.url, globalThis.location?.href);
    this.#session = new Session(this.#address.http, environment.fetch);
    /** Reads over HTTP with the same identity. */
    this.api = new HttpApi(this.#address.http, environment.fetch, () => this.#identity());
    this.#connection = new Connection({
      environment,
      address: async (occasion) => {
        if (options.login) await this.#session.ensure(options.login, occasion);
        else await this.#renewToken(occasion);
        return socketUrl(this.#address.ws, this.#identity());
      },
      canRenew: () => options.login !== undefined || typeof options.token === 'function',
      whyRefused: async () => {
        // The handshake as a plain request: the hub judges the identity before it misses the upgrade.
        const identity = this.#identity();
        const { url, headers } = apiRequest(this.#address.http, '/ws', {}, identity);
        return (await environment.fetch(url, { headers, ...withSession(identity) })).status;
      },
    });
    /** @type {import('./room.js').Link} */
    this.link = {
      environment,
      api: this.api,
      send: (frame) => this.#connection.send(frame),
      isCongested: () => this.#connection.isCongested,
      nextRef: () => (this.#ref += 1),
      onLeft: (room) => {
        if (this.rooms.get(room.name) === room) this.rooms.delete(room.name);
      },
    };
    this.#connection.on('state', (state) => this.emit('state', state));
    this.#connection.on('welcome', (frame) => this.#welcome(frame));
    this.#connection.on('lost', () => this.#eachRoom((room) => room.disconnected()));
    this.#connection.on('frame', (frame) => this.#receive(frame));
    void this.#connection.open();
  }

  /** @returns {import('./connection.js').ConnectionState} */
  get state() {
    return this.#connection.state;
  }

  /**
   * Joins a room, now or as soon as there is a connection, and again after each reconnect.
   * @param {string} name `project/room`
   * @param {import('./room.js').JoinOptions} [options]
   * @returns {Room} the same one as long as it is joined
   */
  join(name, options = {}) {
    if (!parseRoom(name)) throw new RangeError(`not a room name: ${name}`);
    const known = this.rooms.get(name);
    if (known && known.state !== 'refused') return known;
    const room = new Room(name, this.link, options);
    this.rooms.set(name, room);
    if (this.#connection.isLive) room.rejoin();
    return room;
  }

  /** Tries now instead of at the end of the countdown; also opens a closed connection again. */
  retryNow() {
    this.#connection.retryNow();
  }

  /** Leaves all rooms, closes for good, and ends the session that `login` began, in all tabs. */
  async logOut() {
    this.close();
    await this.#session.end();
  }

  /** Leaves all rooms and closes for good. */
  close() {
    this.#eachRoom((room) => room.leave());
    this.#connection.close();
  }

  #identity() {
    const { login, name, guestId } = this.#options;
    if (!login) return { token: this.#token, name, guestId };
    // The session goes first; a guest whose session is lost with the hub's memory is the same guest all the same.
    return 'name' in login ? { session: true, name: login.name, guestId: login.guest_id } : { session: true };
  }

  /** @param {'first' | 'again' | 'expired'} occasion */
  async #renewToken(occasion) {
    const { token } = this.#options;
    this.#token = typeof token === 'function' ? await token(occasion) : (token ?? null);
  }

  /** @param {import('./protocol.js').WelcomeFrame} frame */
  #welcome(frame) {
    this.user = frame.user;
    this.connectionId = frame.connection_id;
    this.emit('welcome', frame);
    this.#eachRoom((room) => room.rejoin());
  }

  /** @param {any} frame */
  #receive(frame) {
    if (frame.type === 'error') return this.#refused(frame);
    if (frame.type === 'auth_expiring') return void this.#replaceToken();
    this.rooms.get(frame.room)?.receive(frame);
  }

  /** @param {import('./protocol.js').ErrorFrame} error */
  #refused(error) {
    if (error.ref !== undefined && [...this.rooms.values()].some((room) => room.refused(error))) return;
    // Cursors and broadcasts carry no ref, so it cannot be told which room: joining again is harmless for the others.
    if (error.code === 'not_joined') this.#eachRoom((room) => room.state === 'joined' && room.rejoin());
    else this.emit('error', error);
  }

  /** The token runs out soon: a new one, while the connection goes on. Without one, the hub closes with 4401 in its time. */
  async #replaceToken() {
    if (this.#options.login) return void this.#session.use().catch(() => null); // a use is all that a session needs
    if (typeof this.#options.token !== 'function') return;
    try {
      await this.#renewToken('expired');
      this.link.send({ type: 'auth', ref: this.link.nextRef(), token: this.#token });
    } catch {
      // Asked again when the connection is closed for it.
    }
  }

  /** @param {(room: Room) => void} visit */
  #eachRoom(visit) {
    for (const room of [...this.rooms.values()]) visit(room);
  }
}
