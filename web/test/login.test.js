// @ts-check
/** A session in place of a token: begun once, used as long as it lasts, begun anew when it is over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settled, world } from './support/fakes.js';

const LOGIN = { name: 'Ada', guest_id: '0190A6B2-7c1e-7000-8000-000000000001' };
const ADA = { user_id: 'guest-0190a6b2-7c1e-7000-8000-000000000001', name: 'Ada', color: '#000000' };

/**
 * A hub that keeps sessions.
 * @param {any} [user] who is logged in already
 * @param {any} [login]
 */
async function loggedIn(user = null, login = LOGIN) {
  const state = { user, status: 0 };
  /** @type {string[]} */
  const asked = [];
  const answer = (/** @type {URL} */ url, /** @type {any} */ init = {}) => {
    asked.push(`${init.method ?? 'GET'} ${url.pathname}`);
    if (state.status) return { status: state.status };
    if (url.pathname === '/ws') return { status: state.user ? 400 : 401 };
    if (init.method === 'POST') {
      const { name, guest_id: id, keep } = JSON.parse(init.body);
      if (!(keep && state.user)) state.user = { user_id: `guest-${id?.toLowerCase()}`, name };
    }
    if (init.method === 'DELETE') state.user = null;
    return state.user ? { user: state.user } : { status: init.method === 'DELETE' ? 204 : 401 };
  };
  // The first request is made before `world` gives its `net`: the connection tries again.
  const w = await world({ name: undefined, guestId: undefined, login });
  w.net.answer = answer;
  const ready = async () => {
    for (let tries = 0; tries < 20 && w.sockets.length === 0; tries += 1) await w.clock.advance(1_000);
  };
  return { ...w, state, asked, ready };
}

test('a login is made once, and a guest whose session is lost is the same guest', async () => {
  const w = await loggedIn();
  await w.ready();
  assert.equal(w.asked.filter((ask) => ask === 'POST /api/sessions').length, 1);
  assert.equal(w.socket().url, `ws://hub.test/ws?name=Ada&guest_id=${LOGIN.guest_id}`);
  assert.ok(w.requests.every(({ init }) => init.credentials === 'include'));
  w.socket().welcome();
  w.socket().end(1006);
  await w.clock.advance(5_000);
  assert.equal(w.sockets.length, 2);
  assert.equal(w.asked.filter((ask) => ask === 'POST /api/sessions').length, 1, 'not again after a lost connection');
});

test('a token or code is in no address', async () => {
  for (const login of [{ token: 'secret' }, { email: 'ada@example.com', code: '12345678' }]) {
    const w = await loggedIn(null, login);
    await w.ready();
    assert.equal(w.socket().url, 'ws://hub.test/ws');
    assert.ok(w.requests.every(({ url }) => !url.includes('secret') && !url.includes('1234')));
  }
});

test('a later connection takes whoever is logged in by now', async () => {
  const w = await loggedIn();
  await w.ready();
  w.state.user = { user_id: 'guest-2', name: 'Bob' };
  w.socket().welcome();
  w.socket().end(4401);
  await w.clock.advance(5_000);
  assert.equal(w.sockets.length, 2);
  assert.equal(w.state.user.name, 'Bob', 'two tabs do not log each other out');
});

test('a session that is over is begun anew, and one that ends soon is used', async () => {
  const w = await loggedIn();
  await w.ready();
  w.socket().welcome();
  const uses = () => w.asked.filter((ask) => ask === 'GET /api/sessions/current').length;
  const before = uses();
  w.socket().say({ type: 'auth_expiring', expires_in_ms: 30_000 });
  await settled();
  assert.equal(uses(), before + 1);
  assert.equal(w.socket().frames('auth').length, 0);
  w.state.user = null;
  w.socket().end(4401);
  await w.clock.advance(5_000);
  assert.equal(w.asked.filter((ask) => ask === 'POST /api/sessions').length, 2);
  assert.equal(w.sockets.length, 2);
});

test('without sessions it is tried again, not given up', async () => {
  const w = await loggedIn();
  w.state.status = 503;
  await w.ready();
  assert.equal(w.sockets.length, 0);
  assert.equal(w.hub.state.state, 'reconnecting');
  w.state.status = 0;
  await w.ready();
  await w.clock.advance(30_000);
  assert.ok(w.sockets.length >= 1);
});

test('logging out ends the session and the connection', async () => {
  const w = await loggedIn(ADA);
  await w.ready();
  w.socket().welcome();
  await w.hub.logOut();
  assert.equal(w.state.user, null);
  assert.equal(w.socket().closedWith, 1000);
  assert.equal(w.hub.state.state, 'closed');
});
