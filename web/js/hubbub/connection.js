// @ts-check
/**
 * One lasting connection over many sockets: opens, waits for `welcome`, asks for signs of life, and comes back after every loss.
 * Knows nothing of rooms. Its reported state is always true: `live` only after the hub has spoken, and no longer than until the
 * hub fails to answer.
 *
 * Events: `state` (ConnectionState), `welcome` (frame), `lost` (), `frame` (any other frame).
 */
import { Backoff } from './backoff.js';
import { Countdown } from './countdown.js';
import { Emitter } from './emitter.js';
import { Liveness } from './liveness.js';
import { byteLength, closeVerdict, FRAME_BYTES_MAX, HEARTBEAT_INTERVAL_MS, SUBPROTOCOL } from './protocol.js';

/**
 * @typedef {object} ConnectionState
 * @property {'connecting' | 'live' | 'degraded' | 'reconnecting' | 'closed'} state
 * @property {number | null} retryInMs `reconnecting`: until the next try; 0 while it is being made
 * @property {number} attempt failed tries since the last live connection
 * @property {string[]} reasons `degraded`: what is away on the hub's side
 * @property {number | null} code `closed`: the close code or HTTP status that ended it, if any
 * @property {string} reason `closed`: why, in a word: `left`, `unauthorized`, `forbidden`
 *
 * @typedef {'first' | 'again' | 'expired'} Occasion why an address is asked for; `expired`: the hub did not accept the last token
 *
 * @typedef {object} ConnectionOptions
 * @property {import('./environment.js').Environment} environment
 * @property {(occasion: Occasion) => Promise<string>} address the URL to open, made anew for each try
 * @property {() => boolean} canRenew whether another token may be had
 * @property {() => Promise<number | null>} whyRefused the HTTP status behind a refused handshake, which a browser does not show
 */

/** How we close: for good, or to come back at once, so that the hub keeps our place. */
const CLOSE_DONE = 1000;
const CLOSE_RECONNECTING = 4000;
/** WebSocket.OPEN; later states are those of its end. */
const SOCKET_OPEN = 1;
/** From opening a socket to `welcome`; a network that swallows packets would otherwise hold us for minutes. */
const WELCOME_TIMEOUT_MS = 10_000;
/** A connection must last this long to count as a success: a hub that drops us at once is not asked ever faster. */
const STABLE_AFTER_MS = 5_000;
/** How soon an answer is expected after the machine woke up or the network changed. */
const DOUBT_DEADLINE_MS = 4_000;
/** A page that was put away is not woken for this; it counts if the page stays after all. */
const SLEEP_MS = 1_000;
/** So many tokens in a row may be refused before we stop asking for new ones. */
const RENEWALS_MAX = 3;
/** More than this waiting in the socket: what may be left out (cursors) is left out. */
const CONGESTED_BYTES = 64 * 1024;
/** A draining hub closes us when our turn comes, and keeps our place in the room; only if it does not, we go ourselves. */
const DRAIN_SLACK_MS = 3_000;

export class Connection extends Emitter {
  /** @type {ConnectionState} */
  state = { state: 'connecting', retryInMs: null, attempt: 0, reasons: [], code: null, reason: '' };
  maxFrameBytes = FRAME_BYTES_MAX;

  /** @type {import('./environment.js').SocketLike | null} */
  #socket = null;
  #welcomed = false;
  #liveSince = 0;
  #liveness = new Liveness(HEARTBEAT_INTERVAL_MS);
  #renewals = 0;
  /** @type {number | null} when the hub, on its way down, wants us to come back */
  #comeBackAt = null;
  /** One timer per job; all of them end with the socket. `patience`: for `welcome`, or for a draining hub to close. */
  #timers = { patience: /** @type {any} */ (null), beat: /** @type {any} */ (null), doubt: /** @type {any} */ (null) };
  /** Which try this is: answers that come late are for another. */
  #try = 0;
  #stopWaking;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    super();
    this.options = options;
    this.clock = options.environment.clock;
    this.backoff = new Backoff({ random: options.environment.random });
    this.countdown = new Countdown(this.clock);
    this.#stopWaking = options.environment.onWake(() => this.wake(), () => this.sleep());
  }

  get isLive() {
    return this.#welcomed;
  }

  /** The socket cannot keep up: leave out what can be left out. */
  get isCongested() {
    return (this.#socket?.bufferedAmount ?? 0) > CONGESTED_BYTES;
  }

  /** @param {Occasion} [occasion] */
  async open(occasion = 'first') {
    this.#drop();
    if (occasion !== 'first') this.#report({ state: 'reconnecting', retryInMs: 0 });
    const current = this.#try;
    this.#timers.patience = this.clock.setTimeout(() => this.#lost(1006), WELCOME_TIMEOUT_MS);
    try {
      const url = await this.options.address(occasion);
      if (this.#try !== current) return; // closed or overtaken while waiting for a token
      const socket = (this.#socket = this.options.environment.openSocket(url, [SUBPROTOCOL]));
      socket.onmessage = ({ data }) => this.#heard(data);
      socket.onclose = ({ code }) => this.#lost(code);
      socket.onerror = () => {}; // `close` follows and says more
    } catch {
      if (this.#try === current) this.#lost(1006);
    }
  }

  /**
   * @param {object} frame
   * @returns {'sent' | 'offline' | 'too_large'} `too_large`: the hub would close the connection over it, each time anew
   */
  send(frame) {
    // A socket that the hub is closing takes nothing more, before it says so.
    if (!this.#welcomed || !this.#socket || this.#socket.readyState > SOCKET_OPEN) return 'offline';
    const text = JSON.stringify(frame);
    if (byteLength(text) > this.maxFrameBytes) return 'too_large';
    this.#socket.send(text);
    return 'sent';
  }

  /** The page or the network is back: try now, or make sure that the connection survived. */
  wake() {
    if (this.#welcomed) {
      this.#liveness.doubt(this.clock.now(), DOUBT_DEADLINE_MS);
      this.send({ type: 'heartbeat' });
      this.clock.clearTimeout(this.#timers.doubt);
      this.#timers.doubt = this.clock.setTimeout(() => this.#beat(), DOUBT_DEADLINE_MS);
    } else if (this.state.state === 'reconnecting' && this.state.retryInMs !== 0) {
      void this.open('again');
    }
  }

  /**
   * The page is put away, perhaps for good. A browser would keep its socket, and answer the hub's pings, for minutes: the person
   * would seem to be in the room. So let go; the hub keeps our place for a moment, and `wake` takes it again.
   */
  sleep() {
    if (this.state.state === 'closed') return;
    const wasLive = this.#welcomed;
    this.#drop();
    this.#wait(SLEEP_MS);
    if (wasLive) this.emit('lost');
  }

  /** A person asks for it: try now, also from `closed`. */
  retryNow() {
    if (this.state.state === 'closed') void this.open('again');
    else this.wake();
  }

  /** For good, until `retryNow`. */
  close(reason = 'left', code = /** @type {number | null} */ (null)) {
    this.#drop(CLOSE_DONE);
    if (reason === 'left') this.#stopWaking();
    this.#report({ state: 'closed', code, reason });
  }

  /** @param {string} data */
  #heard(data) {
    this.#liveness.heard();
    /** @type {any} */
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.type === 'welcome') this.#welcome(frame);
    else if (!this.#welcomed || frame.type === 'heartbeat') return;
    else if (frame.type === 'status') this.#report({ state: frame.state, reasons: frame.reasons ?? [] });
    else if (frame.type === 'drain') this.#drain(frame.reconnect_after_ms ?? 0);
    else this.emit('frame', frame);
  }

  /** @param {import('./protocol.js').WelcomeFrame} frame */
  #welcome(frame) {
    this.clock.clearTimeout(this.#timers.patience);
    this.#welcomed = true;
    this.#liveSince = this.clock.now();
    this.#comeBackAt = null;
    this.maxFrameBytes = frame.max_frame_bytes ?? FRAME_BYTES_MAX;
    this.#liveness = new Liveness(frame.heartbeat_interval_ms ?? HEARTBEAT_INTERVAL_MS);
    this.#timers.beat = this.clock.setTimeout(() => this.#beat(), this.#liveness.intervalMs);
    this.#report({ state: 'live' });
    this.emit('welcome', frame);
  }

  #beat() {
    if (this.#liveness.tick(this.clock.now()) === 'dead') return this.#lost(1006);
    this.send({ type: 'heartbeat' });
    this.clock.clearTimeout(this.#timers.beat);
    this.#timers.beat = this.clock.setTimeout(() => this.#beat(), this.#liveness.intervalMs);
  }

  /** The hub is going down. @param {number} ms */
  #drain(ms) {
    this.#comeBackAt = this.clock.now() + ms;
    this.clock.clearTimeout(this.#timers.patience);
    this.#timers.patience = this.clock.setTimeout(() => this.#lost(1012), ms + DRAIN_SLACK_MS);
  }

  /** @param {number} code */
  #lost(code) {
    const now = this.clock.now();
    const wasLive = this.#welcomed;
    const comeBackAt = this.#comeBackAt;
    this.#drop();
    this.#comeBackAt = null;
    if (wasLive && now - this.#liveSince >= STABLE_AFTER_MS) {
      this.backoff.reset();
      this.#renewals = 0;
    }
    const verdict = closeVerdict(code);
    if (verdict === 'stop') this.close('forbidden', code);
    else if (verdict === 'token') this.#renew(code);
    else this.#wait(comeBackAt === null ? this.backoff.next() : comeBackAt - now);
    if (wasLive) this.emit('lost');
    else if (verdict === 'retry') void this.#askWhy();
  }

  /** A handshake failed: because the hub is away (go on trying), or because it does not want us (say so)? */
  async #askWhy() {
    const current = this.#try;
    const status = await this.options.whyRefused().catch(() => null);
    if (this.#try !== current) return;
    if (status === 401) this.#renew(401);
    else if (status === 403) this.close('forbidden', 403);
  }

  /** @param {number} code */
  #renew(code) {
    this.#renewals += 1;
    if (!this.options.canRenew() || this.#renewals > RENEWALS_MAX) this.close('unauthorized', code);
    else this.#wait(this.#renewals === 1 ? 0 : this.backoff.next(), 'expired');
  }

  /**
   * @param {number} ms
   * @param {Occasion} [occasion]
   */
  #wait(ms, occasion = 'again') {
    this.countdown.start(
      ms,
      (left) => this.#report({ state: 'reconnecting', retryInMs: left }),
      () => void this.open(occasion),
    );
  }

  /** Lets go of the socket and of everything that waits for it. */
  #drop(code = CLOSE_RECONNECTING) {
    this.#try += 1;
    this.countdown.stop();
    for (const timer of Object.values(this.#timers)) this.clock.clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#welcomed = false;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close(code);
  }

  /** @param {Partial<ConnectionState> & {state: ConnectionState['state']}} change */
  #report(change) {
    const attempt = change.state === 'live' || change.state === 'degraded' ? 0 : this.backoff.failures;
    this.state = { retryInMs: null, reasons: [], code: null, reason: '', ...change, attempt };
    this.emit('state', this.state);
  }
}
