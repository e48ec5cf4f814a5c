// @ts-check
/** A world without a browser: a clock that stands still until told, sockets whose other end is the test, HTTP from a table. */
import { connect } from '../../js/hubbub/index.js';

/** Lets promises that are due run. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  time = 0;
  /** @type {Map<number, {at: number, fn: () => void}>} */
  timers = new Map();
  #id = 0;

  now = () => this.time;

  /** @param {() => void} fn @param {number} ms */
  setTimeout = (fn, ms) => {
    this.timers.set((this.#id += 1), { at: this.time + ms, fn });
    return this.#id;
  };

  /** @param {number} id */
  clearTimeout = (id) => void this.timers.delete(id);

  /** Lets time pass, timer by timer. @param {number} ms */
  async advance(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const [next] = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!next) break;
      this.timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].at);
      next[1].fn();
    }
    this.time = end;
    await settled();
  }

  /** As in a hidden tab or a sleeping machine: time passes, then all that was due runs late. @param {number} ms */
  async jump(ms) {
    this.time += ms;
    await this.advance(0);
  }
}

export class FakeSocket {
  bufferedAmount = 0;
  readyState = 1;
  /** @type {any} */ onopen = null;
  /** @type {any} */ onmessage = null;
  /** @type {any} */ onclose = null;
  /** @type {any} */ onerror = null;
  /** @type {any[]} frames from the client */
  sent = [];
  closed = false;
  /** @type {number | undefined} */
  closedWith;

  /** @param {string} url @param {string[]} protocols */
  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  /** @param {number} [code] */
  close(code) {
    this.closedWith = code;
    this.closed = true;
  }

  /** The hub says something. @param {any} frame */
  say(frame) {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
  }

  /** The hub or the network ends it. @param {number} code */
  end(code) {
    this.onclose?.({ code });
  }

  welcome(fields = {}) {
    this.say({
      type: 'welcome', protocol: 1, connection_id: 'c-me', user: { user_id: 'me', name: 'Me' },
      heartbeat_interval_ms: 10_000, presence_ttl_ms: 30_000, max_frame_bytes: 65_536, ...fields,
    });
  }

  /** Frames of one type, oldest first. @param {string} type @returns {any[]} */
  frames(type) {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** @param {string} type @returns {any} */
  last(type) {
    return this.frames(type).at(-1);
  }

  /** Answers the latest join. @param {object} [fields] */
  joined(fields = {}) {
    const { ref, room } = this.last('join');
    this.say({ type: 'joined', ref, room, seq: 0, recovered: true, members: [], cursors: [], messages: [], ...fields });
  }
}

/** A hub client in a fake world. @param {Partial<import('../../js/hubbub/hub.js').HubOptions>} [options] */
export async function world(options = {}) {
  const clock = new FakeClock();
  /** @type {FakeSocket[]} */
  const sockets = [];
  /** @type {{url: string, init: any}[]} */
  const requests = [];
  /** @type {any} */
  const net = { answer: () => null, wake: () => {}, sleep: () => {} };
  let ids = 0;
  const hub = connect({
    url: 'ws://hub.test/ws',
    name: 'Me',
    guestId: 'g-1',
    ...options,
    environment: {
      clock,
      random: () => 0,
      newId: () => `id-${(ids += 1)}`,
      openSocket: (url, protocols) => {
        const socket = new FakeSocket(url, protocols);
        sockets.push(socket);
        return socket;
      },
      fetch: async (url, init) => {
        requests.push({ url, init });
        const answer = net.answer(new URL(url), init);
        if (answer === null) throw new TypeError('network error');
        const { status = 200, ...body } = answer;
        return { ok: status < 400, status, json: async () => body };
      },
      onWake: (wake, sleep) => {
        Object.assign(net, { wake, sleep });
        return () => (net.wake = net.sleep = () => {});
      },
    },
  });
  /** @type {import('../../js/hubbub/index.js').ConnectionState[]} */
  const states = [];
  hub.on('state', (state) => states.push(state));
  await settled();
  return { hub, clock, sockets, requests, net, states, socket: () => /** @type {FakeSocket} */ (sockets.at(-1)) };
}

/** With a live connection and one joined room. @param {any} [options] @param {any} [joined] */
export async function joinedWorld(options = {}, joined = {}) {
  const w = await world(options);
  w.socket().welcome();
  const room = w.hub.join('demo/lobby', options.join);
  w.socket().joined(joined);
  /** @type {[string, any][]} */
  const events = [];
  for (const name of ['joined', 'message', 'presence', 'cursors', 'broadcast', 'read', 'delivery', 'older', 'reset', 'state', 'refused']) {
    room.on(name, (detail) => events.push([name, detail]));
  }
  return { ...w, room, events };
}

/** @param {number} seq @param {object} [fields] @returns {any} */
export function message(seq, fields = {}) {
  const from = { user_id: 'ada', name: 'Ada', connection_id: 'c-ada' };
  return { seq, id: `m-${seq}`, from, body: { text: `message ${seq}` }, sent_at: '2026-01-01T00:00:00Z', ...fields };
}

/** @param {number} from @param {number} to inclusive */
export function messages(from, to) {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => message(from + n));
}
