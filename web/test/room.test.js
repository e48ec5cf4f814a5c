// @ts-check
/** A room over a connection that breaks: joining, resuming, presence, cursors, holes, history. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { joinedWorld, message, messages, world } from './support/fakes.js';

const seqs = (/** @type {{seq: number}[]} */ list) => list.map(({ seq }) => seq);
const of = (/** @type {[string, any][]} */ events, /** @type {string} */ name) => events.filter(([event]) => event === name).map(([, detail]) => detail);
const error = (/** @type {number} */ ref, /** @type {string} */ code, fields = {}) => ({ type: 'error', ref, code, message: code, ...fields });

/** Breaks the connection and lets it come back as another. @param {any} w */
async function reconnect(w) {
  w.socket().end(1006);
  await w.clock.advance(500);
  w.socket().welcome({ connection_id: 'c-new' });
}

describe('joining', () => {
  test('a room that is wished for before the hub speaks is joined with the welcome', async () => {
    const { hub, socket } = await world();
    const room = hub.join('demo/lobby', { presence: { mood: 'fine' }, history: 20 });
    assert.equal(hub.join('demo/lobby'), room);
    assert.deepEqual(socket().frames('join'), []);
    socket().welcome();
    const { ref, ...join } = socket().last('join');
    assert.equal(Number.isInteger(ref), true);
    assert.deepEqual(join, { type: 'join', room: 'demo/lobby', presence: { mood: 'fine' }, history: 20 });
    assert.throws(() => hub.join('No Room'), RangeError);
  });

  test('who is here and what was said come with it', async () => {
    const members = [{ user: { user_id: 'ada', name: 'Ada' }, connections: [{ connection_id: 'c-ada', state: {}, joined_at: '' }] }];
    const { room, events } = await joinedWorld({}, { seq: 3, members, messages: messages(2, 3), cursors: [{ connection_id: 'c-ada', position: { x: 1 } }] });
    assert.deepEqual([room.state, [...room.members.keys()], room.cursors.get('c-ada')], ['joined', ['ada'], { x: 1 }]);
    assert.deepEqual([seqs(room.messages), room.hasOlder], [[2, 3], true]);
    assert.deepEqual(of(events, 'message'), [], 'history is no news');
  });

  test('refused: says so, and what was written has failed', async () => {
    const { hub, socket } = await world();
    socket().welcome();
    const room = hub.join('demo/secret');
    const delivery = room.send('hi');
    socket().say(error(socket().last('join').ref, 'forbidden'));
    assert.deepEqual([room.state, room.error?.code, delivery.state], ['refused', 'forbidden', 'failed']);
    assert.notEqual(hub.join('demo/secret'), room, 'asking again is a new try');
  });

  test('unavailable: asks again when told, and for as long as it takes', async () => {
    const { hub, clock, socket } = await world();
    socket().welcome();
    const room = hub.join('demo/lobby');
    socket().say(error(socket().last('join').ref, 'unavailable', { retry_after_ms: 700 }));
    await clock.advance(699);
    assert.equal(socket().frames('join').length, 1);
    await clock.advance(1);
    assert.equal(socket().frames('join').length, 2);
    socket().joined();
    assert.equal(room.state, 'joined');
  });

  test('an answer that never comes: asks again', async () => {
    const { hub, clock, socket } = await world();
    socket().welcome({ heartbeat_interval_ms: 60_000 });
    hub.join('demo/lobby');
    await clock.advance(10_000);
    assert.equal(socket().frames('join').length, 2);
  });

  test('left: tells the hub, and hears nothing more', async () => {
    const { hub, room, socket, events } = await joinedWorld();
    room.leave();
    assert.equal(socket().last('leave').room, 'demo/lobby');
    socket().say({ type: 'message', room: 'demo/lobby', ...message(1) });
    assert.deepEqual([room.state, hub.rooms.size, of(events, 'message')], ['left', 0, []]);
  });
});

describe('resuming', () => {
  test('from the last message held, with what was missed as news', async () => {
    const w = await joinedWorld({}, { seq: 3, messages: messages(1, 3) });
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(4) });
    w.socket().end(1006);
    assert.equal(w.room.state, 'joining');
    await w.clock.advance(500);
    w.socket().welcome();
    const { since, history } = w.socket().last('join');
    assert.deepEqual([since, history], [4, undefined]);
    w.socket().joined({ seq: 6, messages: messages(5, 6) });
    assert.deepEqual(seqs(w.room.messages), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(of(w.events, 'message').map(({ seq, replayed }) => [seq, replayed]), [[4, false], [5, true], [6, true]]);
  });

  test('what comes twice is told once', async () => {
    const w = await joinedWorld({}, { seq: 1, messages: messages(1, 1) });
    for (const seq of [2, 2, 3, 2, 3]) w.socket().say({ type: 'message', room: 'demo/lobby', ...message(seq) });
    assert.deepEqual(seqs(of(w.events, 'message')), [2, 3]);
  });

  test('too much was missed: pages it over HTTP, in order, before what is new', async () => {
    const w = await joinedWorld({}, { seq: 2, messages: messages(1, 2) });
    w.net.answer = (/** @type {URL} */ url) => {
      const after = Number(url.searchParams.get('after'));
      return { items: messages(after + 1, Math.min(552, after + Number(url.searchParams.get('limit')))), next: null };
    };
    await reconnect(w);
    w.socket().joined({ seq: 600, recovered: false, messages: messages(551, 600) });
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(601) });
    assert.equal(w.room.messages.length, 2, 'order before speed');
    await w.clock.advance(0);
    assert.deepEqual(seqs(w.room.messages), seqs(messages(1, 601)));
    assert.deepEqual(seqs(of(w.events, 'message')), seqs(messages(3, 601)));
    assert.deepEqual(w.requests.filter(({ url }) => url.includes('/messages')).map(({ url }) => new URL(url).search), [
      '?name=Me&guest_id=g-1&after=2&limit=200', '?name=Me&guest_id=g-1&after=202&limit=200', '?name=Me&guest_id=g-1&after=402&limit=148',
    ]);
  });

  test('far too much was missed: the oldest part is left to scroll-back', async () => {
    const w = await joinedWorld({ join: { catchUpMost: 100 } }, { seq: 2, messages: messages(1, 2) });
    w.net.answer = (/** @type {URL} */ url) => ({ items: messages(Number(url.searchParams.get('after')) + 1, 5_050), next: null });
    await reconnect(w);
    w.socket().joined({ seq: 5_050, recovered: false, messages: messages(5_001, 5_050) });
    await w.clock.advance(0);
    assert.deepEqual(of(w.events, 'reset'), [{ gap: { after: 2, before: 4_901 } }]);
    assert.deepEqual(seqs(w.room.messages), seqs(messages(4_901, 5_050)));
    assert.equal(w.room.hasOlder, true);
  });

  test('a hole while live is filled; while HTTP fails it is tried again, in the end skipped', async () => {
    const w = await joinedWorld({}, { seq: 1, messages: messages(1, 1) });
    let fails = 2;
    w.net.answer = () => ((fails -= 1) < 0 ? { items: messages(2, 3), next: null } : { status: 503 });
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(4) });
    await w.clock.advance(5_000);
    assert.deepEqual(seqs(w.room.messages), [1, 2, 3, 4]);
    w.net.answer = () => ({ status: 404 });
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(6) });
    await w.clock.advance(8_000);
    assert.deepEqual([of(w.events, 'reset'), seqs(w.room.messages)], [[{ gap: { after: 4, before: 6 } }], [6]]);
  });

  test('another room under the same name (the data was replaced): begins anew', async () => {
    const w = await joinedWorld({}, { seq: 9, messages: messages(5, 9) });
    await reconnect(w);
    w.socket().joined({ seq: 0, messages: [] });
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(1, { id: 'fresh' }) });
    assert.deepEqual(of(w.events, 'reset'), [{ gap: null }]);
    assert.deepEqual([w.socket().last('join').since, w.socket().last('join').history], [undefined, 50]);
    w.socket().joined({ seq: 1, messages: [message(1, { id: 'fresh' })] });
    assert.deepEqual(w.room.messages.map(({ id }) => id), ['fresh']);
  });

  test('a hub that lags behind the one we came from is no other room', async () => {
    const w = await joinedWorld({}, { seq: 9, messages: messages(5, 9) });
    await reconnect(w);
    w.socket().joined({ seq: 8, messages: [] });
    for (const seq of [9, 10]) w.socket().say({ type: 'message', room: 'demo/lobby', ...message(seq) });
    assert.deepEqual([of(w.events, 'reset'), seqs(w.room.messages)], [[], [5, 6, 7, 8, 9, 10]]);
  });

  test('not_joined without a ref: joins again where it was', async () => {
    const w = await joinedWorld({}, { seq: 1, messages: messages(1, 1) });
    w.socket().say({ type: 'error', code: 'not_joined', message: '' });
    assert.deepEqual([w.socket().frames('join').length, w.socket().last('join').since], [2, 1]);
  });
});

describe('presence', () => {
  test('the newest state, paced; a reconnect carries it in the join', async () => {
    const w = await joinedWorld();
    for (let n = 1; n <= 9; n += 1) w.room.setPresence({ n });
    await w.clock.advance(1_000);
    assert.deepEqual(w.socket().frames('presence').map(({ state }) => state.n), [1, 9]);
    await reconnect(w);
    assert.deepEqual(w.socket().last('join').presence, { n: 9 });
    w.socket().joined();
    await w.clock.advance(1_000);
    assert.deepEqual(w.socket().frames('presence'), []);
  });

  test('a change between join and joined is not lost', async () => {
    const w = await joinedWorld();
    await reconnect(w);
    w.room.setPresence({ away: true });
    w.socket().joined();
    assert.deepEqual(w.socket().last('presence').state, { away: true });
  });

  test('rate limited: the newest state again, later', async () => {
    const w = await joinedWorld();
    w.room.setPresence({ n: 1 });
    w.socket().say(error(w.socket().last('presence').ref, 'rate_limited', { retry_after_ms: 900 }));
    w.room.setPresence({ n: 2 });
    await w.clock.advance(899);
    assert.equal(w.socket().frames('presence').length, 1);
    await w.clock.advance(1);
    assert.deepEqual(w.socket().last('presence').state, { n: 2 });
  });

  test('what the hub would refuse for its size is refused here', async () => {
    const { room } = await joinedWorld();
    assert.throws(() => room.setPresence({ text: 'x'.repeat(4_096) }), RangeError);
    assert.throws(() => room.moveCursor({ text: 'x'.repeat(1_024) }), RangeError);
  });
});

describe('cursors', () => {
  test('at most about 30 a second, the last one always', async () => {
    const w = await joinedWorld();
    for (let ms = 0; ms < 1_000; ms += 4) {
      w.room.moveCursor({ x: ms });
      await w.clock.advance(4);
    }
    await w.clock.advance(50);
    const sent = w.socket().frames('cursor');
    assert.equal(sent.length >= 28 && sent.length <= 32, true, `${sent.length}`);
    assert.deepEqual(sent.at(-1).position, { x: 996 });
  });

  test('shown again after a reconnect, under the new connection', async () => {
    const w = await joinedWorld();
    w.room.moveCursor({ x: 1 });
    await reconnect(w);
    w.socket().joined();
    await w.clock.advance(50);
    assert.deepEqual(w.socket().last('cursor').position, { x: 1 });
  });

  test('a socket that cannot keep up gets fewer, and the newest in the end', async () => {
    const w = await joinedWorld();
    w.socket().bufferedAmount = 1_000_000;
    w.room.moveCursor({ x: 1 });
    await w.clock.advance(100);
    w.room.moveCursor({ x: 2 });
    assert.deepEqual(w.socket().frames('cursor'), []);
    w.socket().bufferedAmount = 0;
    await w.clock.advance(50);
    assert.deepEqual(w.socket().frames('cursor').map(({ position }) => position.x), [2]);
  });

  test('others move and are told', async () => {
    const w = await joinedWorld();
    w.socket().say({ type: 'cursors', room: 'demo/lobby', cursors: [{ connection_id: 'c', position: { x: 1 } }] });
    assert.deepEqual([w.room.cursors.get('c'), of(w.events, 'cursors').length], [{ x: 1 }, 1]);
  });
});

describe('history', () => {
  test('pages backwards, one page at a time', async () => {
    const w = await joinedWorld({}, { seq: 100, messages: messages(51, 100) });
    w.net.answer = (/** @type {URL} */ url) => {
      const before = Number(url.searchParams.get('before'));
      return { items: messages(before - 50, before - 1).reverse(), next: null };
    };
    const [one, two] = await Promise.all([w.room.loadOlder(), w.room.loadOlder()]);
    assert.equal(one, two);
    assert.deepEqual([seqs(w.room.messages), w.room.hasOlder], [seqs(messages(1, 100)), false]);
    assert.deepEqual(await w.room.loadOlder(), []);
  });

  test('a failure is told and can be tried again', async () => {
    const w = await joinedWorld({}, { seq: 2, messages: messages(2, 2) });
    w.net.answer = () => ({ status: 503, detail: 'the database is away' });
    await assert.rejects(w.room.loadOlder(), /the database is away/);
    w.net.answer = () => ({ items: messages(1, 1), next: null });
    assert.deepEqual(seqs(await w.room.loadOlder()), [1]);
  });
});

describe('ephemeral', () => {
  test('broadcasts and read markers come and go', async () => {
    const w = await joinedWorld();
    assert.equal(w.room.broadcast('typing', { on: true }), true);
    assert.deepEqual(w.socket().last('broadcast'), { type: 'broadcast', room: 'demo/lobby', event: 'typing', data: { on: true } });
    for (const seq of [1, 2, 3]) w.room.markRead(seq);
    await w.clock.advance(1_000);
    assert.deepEqual(w.socket().frames('read').map(({ seq }) => seq), [1, 3]);
    w.socket().say({ type: 'broadcast', room: 'demo/lobby', event: 'typing', data: {}, from: {} });
    w.socket().say({ type: 'read', room: 'demo/lobby', user_id: 'ada', seq: 3 });
    assert.deepEqual([of(w.events, 'broadcast').length, of(w.events, 'read')[0].seq], [1, 3]);
    w.socket().end(1006);
    assert.equal(w.room.broadcast('typing'), false, 'nobody would hear it later');
  });
});
