// @ts-check
/** One lasting connection: states that are true, backoff, signs of life, drain, close codes, tokens. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { world } from './support/fakes.js';

describe('connecting', () => {
  test('is live only once the hub has spoken', async () => {
    const { hub, states, socket } = await world();
    assert.equal(hub.state.state, 'connecting');
    assert.equal(socket().url, 'ws://hub.test/ws?name=Me&guest_id=g-1');
    assert.deepEqual(socket().protocols, ['hubbub.v1']);
    socket().onopen?.();
    assert.equal(hub.state.state, 'connecting');
    socket().welcome();
    assert.deepEqual([hub.state.state, hub.user?.user_id, hub.connectionId], ['live', 'me', 'c-me']);
    assert.deepEqual(states.map(({ state }) => state), ['live']);
  });

  test('nothing is sent into a socket that the hub is closing', async () => {
    const { hub, socket } = await world();
    socket().welcome();
    socket().readyState = 2;
    hub.join('demo/lobby');
    assert.deepEqual(socket().sent, []);
  });

  test('a network that swallows packets does not hold it', async () => {
    const { hub, clock, sockets } = await world();
    await clock.advance(10_000);
    assert.deepEqual([hub.state.state, sockets[0].closed], ['reconnecting', true]);
  });

  test('status: degraded and back, with the reasons', async () => {
    const { hub, socket } = await world();
    socket().welcome();
    socket().say({ type: 'status', state: 'degraded', reasons: ['redis'] });
    assert.deepEqual([hub.state.state, hub.state.reasons], ['degraded', ['redis']]);
    socket().say({ type: 'status', state: 'live', reasons: [] });
    assert.deepEqual([hub.state.state, hub.state.reasons], ['live', []]);
  });

  test('noise and frames of later versions do no harm', async () => {
    const { hub, socket } = await world();
    socket().welcome();
    for (const noise of ['', '{', '[]', '{"type":"later"}', '{"type":"message","room":"other/room"}']) socket().say(noise);
    assert.equal(hub.state.state, 'live');
  });
});

describe('coming back', () => {
  test('counts down, tries, and waits longer each time', async () => {
    const { hub, clock, sockets, states, socket } = await world();
    for (const wait of [500, 1_000, 2_000, 4_000]) {
      const tries = sockets.length;
      socket().end(1006);
      assert.deepEqual([hub.state.state, hub.state.retryInMs], ['reconnecting', wait]);
      await clock.advance(wait - 1);
      assert.equal(sockets.length, tries);
      await clock.advance(1);
      assert.equal(sockets.length, tries + 1);
      assert.equal(hub.state.retryInMs, 0);
    }
    const told = states.map(({ retryInMs }) => retryInMs);
    assert.deepEqual(told.slice(-5), [4_000, 3_000, 2_000, 1_000, 0], 'a second at a time');
  });

  test('a hub that drops us at once is not asked ever faster; a connection that lasted is a new start', async () => {
    const { hub, clock, socket } = await world();
    const waits = [];
    for (const lasted of [0, 0, 0, 5_000]) {
      socket().welcome();
      await clock.advance(lasted);
      socket().end(1006);
      waits.push(hub.state.retryInMs);
      await clock.advance(Number(hub.state.retryInMs));
    }
    assert.deepEqual(waits, [500, 1_000, 2_000, 500]);
  });

  test('the network or the page is back: now', async () => {
    const { hub, sockets, net, socket } = await world();
    for (let n = 0; n < 5; n += 1) {
      socket().end(1006);
      net.wake();
      await null;
      await null;
    }
    socket().end(1006);
    const tries = sockets.length;
    net.wake();
    await new Promise(setImmediate);
    assert.equal(sockets.length, tries + 1);
    net.wake();
    await new Promise(setImmediate);
    assert.equal(sockets.length, tries + 1, 'one try at a time');
    assert.equal(hub.state.retryInMs, 0);
  });

  test('a page that is put away lets go of the hub, and comes back with the page', async () => {
    const { hub, sockets, net, socket } = await world();
    socket().welcome();
    net.sleep();
    assert.deepEqual([hub.state.state, socket().closed, socket().closedWith], ['reconnecting', true, 4_000]);
    net.wake();
    await new Promise(setImmediate);
    socket().welcome();
    assert.deepEqual([hub.state.state, sockets.length], ['live', 2]);
    hub.close();
    net.sleep();
    assert.equal(hub.state.state, 'closed');
  });

  test('drain: stays until the hub closes, comes back when told, staggered by the hub and not by chance', async () => {
    for (const code of [1001, 1012]) {
      const { hub, clock, sockets, socket } = await world();
      socket().welcome();
      socket().say({ type: 'drain', reconnect_after_ms: 1_200 });
      await clock.advance(200);
      assert.equal(hub.state.state, 'live');
      socket().end(code);
      assert.equal(hub.state.retryInMs, 1_000);
      await clock.advance(1_000);
      assert.equal(sockets.length, 2);
    }
  });

  test('drain: goes by itself if the hub forgets to close', async () => {
    const { clock, sockets, socket } = await world();
    socket().welcome();
    socket().say({ type: 'drain', reconnect_after_ms: 1_200 });
    await clock.advance(1_200);
    assert.equal(sockets.length, 1, 'the hub closes at that moment, and keeps our place');
    await clock.advance(3_000);
    assert.deepEqual([sockets.length, sockets[0].closed], [2, true]);
  });

  for (const code of [1001, 1009, 1012, 4400, 4408, 4429, 4508]) {
    test(`close code ${code} means: come back`, async () => {
      const { hub, clock, sockets, socket } = await world();
      socket().welcome();
      socket().end(code);
      assert.equal(hub.state.state, 'reconnecting');
      await clock.advance(500);
      assert.equal(sockets.length, 2);
    });
  }
});

describe('signs of life', () => {
  test('a heartbeat per interval; as long as each is answered it stays', async () => {
    const { hub, clock, socket } = await world();
    socket().welcome({ heartbeat_interval_ms: 1_000 });
    for (let n = 1; n <= 10; n += 1) {
      await clock.advance(1_000);
      assert.equal(socket().frames('heartbeat').length, n);
      socket().say({ type: 'heartbeat' });
    }
    assert.equal(hub.state.state, 'live');
  });

  test('a pulled cable is noticed two intervals after the last frame at the latest', async () => {
    const { hub, clock, sockets, socket } = await world();
    socket().welcome();
    await clock.advance(19_999);
    assert.equal(hub.state.state, 'live');
    await clock.advance(1);
    assert.deepEqual([hub.state.state, sockets[0].closed], ['reconnecting', true]);
  });

  test('any frame is an answer', async () => {
    const { hub, clock, socket } = await world();
    socket().welcome();
    for (let n = 0; n < 10; n += 1) {
      await clock.advance(9_000);
      socket().say({ type: 'cursors', room: 'p/r', cursors: [] });
    }
    assert.equal(hub.state.state, 'live');
  });

  test('a hidden tab whose timers run once a minute stays connected', async () => {
    const { hub, clock, sockets, socket } = await world();
    socket().welcome();
    for (let minute = 0; minute < 10; minute += 1) {
      await clock.jump(60_000);
      socket().say({ type: 'heartbeat' });
    }
    assert.deepEqual([hub.state.state, sockets.length], ['live', 1]);
  });

  test('after waking up it asks at once and does not wait long for the answer', async () => {
    const { hub, clock, socket, net } = await world();
    socket().welcome();
    net.wake();
    assert.equal(socket().frames('heartbeat').length, 1);
    socket().say({ type: 'heartbeat' });
    await clock.advance(4_000);
    assert.equal(hub.state.state, 'live');
    socket().say({ type: 'heartbeat' });
    net.wake();
    await clock.advance(4_000);
    assert.equal(hub.state.state, 'reconnecting');
  });
});

describe('who we are', () => {
  test('removed from the project: closed, and says so', async () => {
    const { hub, clock, sockets, socket } = await world();
    socket().welcome();
    socket().end(4403);
    assert.deepEqual([hub.state.state, hub.state.code, hub.state.reason], ['closed', 4403, 'forbidden']);
    await clock.advance(600_000);
    assert.equal(sockets.length, 1);
  });

  test('an expired token without a way to another: closed', async () => {
    const { hub, socket } = await world({ token: 'old' });
    assert.equal(socket().url, 'ws://hub.test/ws?token=old');
    socket().welcome();
    socket().end(4401);
    assert.deepEqual([hub.state.state, hub.state.reason], ['closed', 'unauthorized']);
  });

  test('an expired token with a way to another: asks for it and goes on', async () => {
    const asked = /** @type {string[]} */ ([]);
    const { hub, clock, socket } = await world({ token: async (occasion) => `t${asked.push(occasion)}` });
    socket().welcome();
    socket().end(4401);
    await clock.advance(0);
    assert.equal(socket().url, 'ws://hub.test/ws?token=t2');
    socket().welcome();
    assert.equal(hub.state.state, 'live');
    assert.deepEqual(asked, ['first', 'expired']);
  });

  test('tokens that are refused again and again: closed', async () => {
    const { hub, clock, socket } = await world({ token: () => 'bad' });
    for (let n = 0; n < 4; n += 1) {
      socket().welcome();
      socket().end(4401);
      await clock.advance(4_000);
    }
    assert.equal(hub.state.state, 'closed');
  });

  test('auth_expiring: a new token goes over the living connection', async () => {
    let n = 0;
    const { hub, clock, socket } = await world({ token: () => `t${(n += 1)}` });
    socket().welcome();
    socket().say({ type: 'auth_expiring', expires_in_ms: 30_000 });
    await clock.advance(0);
    assert.equal(socket().last('auth').token, 't2');
    assert.equal(hub.state.state, 'live');
  });

  test('a refused handshake is told from a hub that is away', async () => {
    const away = await world();
    away.socket().end(1006);
    await away.clock.advance(0);
    assert.equal(away.hub.state.state, 'reconnecting');

    const refused = await world();
    refused.net.answer = (/** @type {URL} */ url) => (url.pathname === '/ws' ? { status: 401 } : null);
    refused.socket().end(1006);
    await refused.clock.advance(0);
    assert.deepEqual([refused.hub.state.state, refused.hub.state.code], ['closed', 401]);
  });

  test('a token that cannot be had for the moment is asked for again', async () => {
    let fails = true;
    const { hub, clock, sockets } = await world({
      token: () => {
        if (fails) throw new Error('offline');
        return 't';
      },
    });
    assert.deepEqual([hub.state.state, sockets.length], ['reconnecting', 0]);
    fails = false;
    await clock.advance(500);
    assert.equal(sockets.length, 1);
  });

  test('closed by the page: for good, and nothing runs on', async () => {
    const { hub, clock, sockets, socket } = await world();
    socket().welcome();
    hub.close();
    assert.deepEqual([hub.state.state, hub.state.reason, socket().closed], ['closed', 'left', true]);
    await clock.advance(600_000);
    assert.deepEqual([sockets.length, clock.timers.size], [1, 0]);
    hub.retryNow();
    await clock.advance(0);
    assert.equal(sockets.length, 2, 'unless a person wants it');
  });
});
