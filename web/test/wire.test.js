// @ts-check
/** Addresses, room names, and what codes ask for. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apiRequest, hubAddress, messagesPath, socketUrl } from '../js/hubbub/address.js';
import { closeVerdict, errorVerdict, parseRoom } from '../js/hubbub/protocol.js';

describe('addresses', () => {
  test('the hub may be named in many ways', () => {
    const page = 'https://app.test/some/page?x#y';
    for (const [url, ws, http] of [
      [undefined, 'wss://app.test/ws', 'https://app.test'],
      ['http://hub.test:8080', 'ws://hub.test:8080/ws', 'http://hub.test:8080'],
      ['ws://hub.test/ws', 'ws://hub.test/ws', 'http://hub.test'],
      ['wss://hub.test/base/ws/', 'wss://hub.test/base/ws', 'https://hub.test/base'],
      ['/hub/', 'wss://app.test/hub/ws', 'https://app.test/hub'],
    ]) {
      assert.deepEqual(hubAddress(url, page), { ws, http });
    }
  });

  test('a token goes alone, as a bearer over HTTP; a guest by name and id on both', () => {
    const guest = { name: 'Ada & Co', guestId: 'g' };
    assert.equal(socketUrl('ws://h/ws', guest), 'ws://h/ws?name=Ada+%26+Co&guest_id=g');
    assert.equal(socketUrl('ws://h/ws', { ...guest, token: 't' }), 'ws://h/ws?token=t');
    assert.equal(apiRequest('http://h', '/x', { after: 3, cursor: undefined }, guest).url, 'http://h/x?name=Ada+%26+Co&guest_id=g&after=3');
    const { url, headers } = apiRequest('http://h', '/x', {}, { ...guest, token: 't' });
    assert.deepEqual([url, headers.authorization], ['http://h/x', 'Bearer t']);
  });

  test('room names are those of the hub', () => {
    assert.deepEqual(parseRoom('demo/lobby-1'), { project: 'demo', room: 'lobby-1' });
    for (const bad of ['', 'demo', 'demo/', '/lobby', 'Demo/lobby', 'demo/lobby/x', '-a/b', `a/${'b'.repeat(65)}`]) assert.equal(parseRoom(bad), null);
    assert.equal(messagesPath('p/r'), '/api/projects/p/rooms/r/messages');
    assert.throws(() => messagesPath('p'), RangeError);
  });
});

test('codes say what to do', () => {
  assert.deepEqual([1001, 1006, 1012, 4400, 4408, 4429, 4508].map(closeVerdict), Array(7).fill('retry'));
  assert.deepEqual([closeVerdict(4401), closeVerdict(4403)], ['token', 'stop']);
  assert.deepEqual(['rate_limited', 'unavailable', 'not_joined', 'internal'].map(errorVerdict), ['later', 'later', 'rejoin', 'few']);
  assert.deepEqual(['bad_frame', 'forbidden', 'not_found', 'too_large', 'news'].map(errorVerdict), Array(5).fill('final'));
});
