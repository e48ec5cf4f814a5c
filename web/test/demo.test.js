// @ts-check
/** The demo's pure parts: addresses, identities, people, typing, motion, rows, the words for the connection. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rowOfEntry, rowOfMessage, startsDay, startsGroup, textOf } from '../js/demo/chat-rows.js';
import { connectionLabel } from '../js/demo/connection-label.js';
import { CursorMotion, pointOf } from '../js/demo/cursor-motion.js';
import { Identities, storeOrMemory } from '../js/demo/identity.js';
import { readAddress, roomOfHash, roomOfText } from '../js/demo/page-address.js';
import { Colors, colorOf, describePerson, initials, inkOn, peopleOf } from '../js/demo/people.js';
import { factsText, listRooms } from '../js/demo/room-list.js';
import { Typists, TypingSignal, typingText } from '../js/demo/typing.js';
import { message } from './support/fakes.js';

describe('the page address', () => {
  test('a deep link fills in the room, a full one enters directly', () => {
    assert.deepEqual(readAddress('http://h/#demo/lobby'), { name: '', room: 'demo/lobby', token: '', isDirect: false, clean: 'http://h/#demo/lobby' });
    const direct = readAddress('http://h/?name=Ada%20L&room=demo/lobby');
    assert.deepEqual(direct, { name: 'Ada L', room: 'demo/lobby', token: '', isDirect: true, clean: 'http://h/#demo/lobby' });
  });

  test('a token never stays in the address', () => {
    const { token, isDirect, clean } = readAddress('http://h/?token=secret&room=demo/lobby&x=1');
    assert.deepEqual([token, isDirect, clean], ['secret', true, 'http://h/?x=1#demo/lobby']);
  });

  test('what is no room is none', () => {
    for (const hash of ['', '#', '#lobby', '#De/Mo', '#%E0%A4%A']) assert.equal(roomOfHash(hash), '');
    assert.equal(readAddress('http://h/?name=Ada&room=../x').isDirect, false);
  });

  test('what people type becomes a room', () => {
    for (const [typed, room] of [
      ['demo/lobby', 'demo/lobby'], [' Lobby ', 'demo/lobby'], ['Design Team/Stand up!', 'design-team/stand-up'], ['Café/Übung 1', 'cafe/ubung-1'],
      ['a/b/c', 'a/b'], ['///', ''], ['日本', ''], ['', ''],
    ]) assert.equal(roomOfText(typed), room, typed);
  });
});

describe('identities', () => {
  const store = () => storeOrMemory(() => {
    throw new Error('blocked');
  });
  const ids = () => {
    let n = 0;
    return () => `g${(n += 1)}`;
  };

  test('one id per name and browser, kept', () => {
    const shared = store();
    const one = new Identities(shared, ids());
    assert.deepEqual([one.guestId('Ada'), one.guestId('Bob'), one.guestId('Ada')], ['g1', 'g2', 'g1']);
    const next = new Identities(shared, () => 'new');
    assert.deepEqual([next.lastName, next.guestId('Bob')], ['Ada', 'g2']);
  });

  test('two tabs that start together agree', () => {
    const shared = store();
    const [one, two] = [new Identities(shared, () => 'a'), new Identities(shared, () => 'b')];
    assert.equal(one.guestId('Ada'), two.guestId('Ada'));
  });

  test('rubbish in the storage is nothing', () => {
    const broken = store();
    broken.setItem('hubbub.guests', '{"x":1}');
    assert.equal(new Identities(broken, () => 'new').guestId('Ada'), 'new');
  });
});

describe('people', () => {
  const member = (/** @type {string} */ id, /** @type {any[]} */ ...states) => ({
    user: { user_id: id, name: id, color: '#206bde' },
    connections: new Map(states.map((state, n) => [`${id}${n}`, { connection_id: `${id}${n}`, state, joined_at: '' }])),
  });

  test('away only when all tabs are; oneself first, the away last', () => {
    const people = peopleOf([member('bob', { away: true }, { away: true }), member('cid', { away: true }, {}), member('me', {})], 'me');
    assert.deepEqual(people.map(({ userId, tabs, away }) => [userId, tabs, away]), [['me', 1, false], ['cid', 2, false], ['bob', 2, true]]);
    assert.deepEqual(people.map(describePerson), ['me (you)', 'cid, 2 tabs', 'bob, 2 tabs, away']);
  });

  test('initials of any name', () => {
    assert.deepEqual(['Ada Lovelace', 'ada', 'x', ' ', 'Jean Luc de Brie', '👋 hi'].map(initials), ['AL', 'AD', 'X', '?', 'JB', '👋H']);
  });

  test('only plain colours get into a style, with a readable ink', () => {
    assert.equal(colorOf({ color: 'red;background:url(x)' }), '#6b7280');
    assert.deepEqual([inkOn('#206bde'), inkOn('#ffe066'), inkOn('#ffffff'), inkOn('#000000')], ['#ffffff', '#16130f', '#16130f', '#ffffff']);
  });

  test('colours outlive presence and tell when they become known', () => {
    const colors = new Colors();
    /** @type {string[]} */
    const learnt = [];
    colors.onLearnt = (id) => learnt.push(id);
    for (let n = 0; n < 2; n += 1) colors.learn({ user_id: 'ada', color: '#206bde' });
    assert.deepEqual([colors.of('ada'), colors.of('who'), learnt], ['#206bde', '#6b7280', ['ada']]);
  });
});

describe('typing', () => {
  test('expires by itself, ends with a message or when told', () => {
    const typists = new Typists();
    const from = (/** @type {string} */ name) => ({ user_id: name, name });
    typists.heard(from('Ada'), { typing: true }, 0);
    typists.heard(from('Bob'), null, 1_000);
    typists.heard(from('Cid'), { typing: true }, 1_000);
    typists.heard(from('Cid'), { typing: false }, 1_500);
    assert.deepEqual(typists.names(2_999), ['Ada', 'Bob']);
    assert.deepEqual(typists.names(3_000), ['Bob']);
    typists.ended('Bob');
    assert.deepEqual(typists.names(3_000), []);
  });

  test('is said now and then, not with every key', () => {
    const signal = new TypingSignal();
    assert.deepEqual([0, 100, 1_299, 1_300].map((now) => signal.changed(false, now)?.typing ?? null), [true, null, null, true]);
    assert.deepEqual(signal.changed(true, 1_400), { typing: false });
    assert.equal(signal.changed(true, 1_500), null);
    signal.changed(false, 2_000);
    signal.sent();
    assert.equal(signal.changed(true, 2_100), null, 'the message said it');
  });

  test('reads well', () => {
    assert.deepEqual([[], ['Ada'], ['Ada', 'Bob'], ['Ada', 'Bob', 'Cid', 'Dan']].map(typingText),
      ['', 'Ada is typing', 'Ada and Bob are typing', 'Ada, Bob and 2 more are typing']);
  });
});

describe('cursor motion', () => {
  test('gets there, the same way at any frame rate', () => {
    const at = (/** @type {number} */ fps) => {
      const motion = new CursorMotion(0, 0);
      motion.aim(1, 0.5);
      for (let n = 0; n < fps / 10; n += 1) motion.step(1_000 / fps);
      return motion;
    };
    assert.ok(Math.abs(at(60).x - at(120).x) < 0.001);
    assert.ok(at(60).x > 0.8 && at(60).x < 1, 'most of the way after a tenth of a second');
    const motion = at(60);
    for (let n = 0; n < 60; n += 1) motion.step(16);
    assert.deepEqual([motion.x, motion.y, motion.isSettled], [1, 0.5, true]);
  });

  test('never overshoots, however late a frame is', () => {
    const motion = new CursorMotion(0, 1);
    motion.aim(1, 0);
    motion.step(1e9);
    assert.deepEqual([motion.x, motion.y], [1, 0]);
  });

  test('positions of others are taken with care', () => {
    assert.deepEqual([pointOf({ x: 2, y: -1 }), pointOf({ x: 'a', y: 0 }), pointOf(null), pointOf({ x: 0.5, y: NaN })], [{ x: 1, y: 0 }, null, null, null]);
  });
});

describe('rows of the chat', () => {
  const row = (/** @type {string} */ userId, /** @type {string} */ at) => ({ ...rowOfMessage(message(1)), userId, at });

  test('any body can be shown', () => {
    assert.deepEqual([{ text: 'a' }, 'b', { x: 1 }, null, [1]].map(textOf), ['a', 'b', '{"x":1}', 'null', '[1]']);
  });

  test('groups by person, pause and day', () => {
    const first = row('ada', '2026-01-01T12:00:00Z');
    assert.equal(startsGroup(null, first), true);
    assert.equal(startsGroup(first, row('ada', '2026-01-01T12:04:00Z')), false);
    assert.equal(startsGroup(first, row('bob', '2026-01-01T12:01:00Z')), true);
    assert.equal(startsGroup(first, row('ada', '2026-01-01T12:06:00Z')), true);
    assert.deepEqual([startsDay(first, row('ada', '2026-01-03T12:00:00Z')), startsDay(first, first)], [true, false]);
  });

  test('own messages say how far they are', () => {
    const entry = /** @type {any} */ ({ id: 'x', seq: null, state: 'failed', body: { text: 'a' }, error: { code: 'forbidden', message: '' } });
    const { state, problem, name } = rowOfEntry(entry, { user_id: 'me', name: 'Me' }, '2026-01-01T12:00:00Z');
    assert.deepEqual([state, problem, name], ['failed', 'Not delivered: you may not write here.', 'Me']);
  });
});

describe('the words for the connection', () => {
  const say = (/** @type {any} */ fields, /** @type {any} */ room = 'joined') => {
    const { state, label } = connectionLabel({ retryInMs: null, attempt: 0, reasons: [], code: null, reason: '', ...fields }, room);
    return [state, label];
  };

  test('are true', () => {
    assert.deepEqual(say({ state: 'connecting' }), ['connecting', 'Connecting']);
    assert.deepEqual(say({ state: 'live' }), ['live', 'Live']);
    assert.deepEqual(say({ state: 'live' }, 'joining'), ['connecting', 'Joining'], 'a hub without the room is not live');
    assert.deepEqual(say({ state: 'degraded', reasons: ['redis'] }), ['degraded', 'Degraded: only this instance']);
    assert.deepEqual(say({ state: 'degraded', reasons: ['database'] }), ['degraded', 'Degraded: database']);
    assert.deepEqual(say({ state: 'reconnecting', retryInMs: 2_400 }, 'joining'), ['reconnecting', 'Reconnecting in 3 s']);
    assert.deepEqual(say({ state: 'reconnecting', retryInMs: 0 }, 'joining'), ['reconnecting', 'Reconnecting']);
    assert.deepEqual(say({ state: 'closed', reason: 'unauthorized' }), ['closed', 'Closed: not signed in']);
  });
});

describe('rooms to choose from', () => {
  test('the liveliest first; what cannot be read is left out', async () => {
    /** @type {Record<string, any[]>} */
    const lists = {
      '/api/projects': [{ id: 'a' }, { id: 'b' }, { id: 'gone' }],
      '/api/projects/a/rooms': [{ room: 'a/quiet', last_seq: 1, online: 0 }, { room: 'a/old', last_seq: 900, online: 0 }],
      '/api/projects/b/rooms': [{ room: 'b/live', last_seq: 0, online: 2 }],
    };
    const rooms = await listRooms({ list: async (path) => lists[path] ?? Promise.reject(new Error('404')) });
    assert.deepEqual(rooms.map(factsText), ['2 here, 0 messages', '900 messages', '1 message']);
    assert.deepEqual(await listRooms({ list: () => Promise.reject(new Error('away')) }), []);
  });
});
