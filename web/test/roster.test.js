// @ts-check
/** Members, their tabs and cursors, from joined and diffs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Roster } from '../js/hubbub/roster.js';

describe('roster', () => {
  const user = (/** @type {string} */ id) => ({ user_id: id, name: id });
  const join = (/** @type {string} */ id, /** @type {string} */ connection_id, first = true) =>
    ({ user: user(id), connection_id, state: {}, joined_at: '', first });
  const leave = (/** @type {string} */ user_id, /** @type {string} */ connection_id, last = true) =>
    ({ user_id, connection_id, reason: 'left', last });
  const start = (/** @type {any} */ fields = {}) => {
    const roster = new Roster();
    roster.reset({ members: [{ user: user('ada'), connections: [{ connection_id: 'a1', state: {}, joined_at: '' }] }], ...fields });
    return roster;
  };

  test('a person with two tabs arrives once and goes once', () => {
    const roster = start();
    const diff = (/** @type {any} */ fields) => roster.apply({ type: 'presence', room: '', ...fields });
    assert.deepEqual(diff({ joins: [join('bob', 'b1')] }).arrived, [user('bob')]);
    assert.deepEqual(diff({ joins: [join('bob', 'b2', false)] }).arrived, []);
    assert.equal(roster.members.get('bob')?.connections.size, 2);
    assert.deepEqual(diff({ leaves: [leave('bob', 'b1', false)] }).gone, []);
    assert.deepEqual(diff({ leaves: [leave('bob', 'b2')] }).gone, [user('bob')]);
    assert.deepEqual([...roster.members.keys()], ['ada']);
  });

  test('a reload within one diff keeps the person', () => {
    const roster = start();
    roster.apply({ type: 'presence', room: '', joins: [join('ada', 'a2', false)], leaves: [leave('ada', 'a1', false)] });
    assert.deepEqual([...(roster.members.get('ada')?.connections.keys() ?? [])], ['a2']);
    assert.equal(roster.total, 1);
  });

  test('a new state is a change of that connection; one of a stranger is nothing', () => {
    const roster = start();
    const updates = [{ user_id: 'ada', connection_id: 'a1', state: { away: true } }, { user_id: 'eve', connection_id: 'e1', state: {} }];
    assert.deepEqual(roster.apply({ type: 'presence', room: '', updates }).changed, ['ada']);
    assert.deepEqual(roster.members.get('ada')?.connections.get('a1')?.state, { away: true });
  });

  test('cursors move, hide, and go with their connection', () => {
    const roster = start({ cursors: [{ connection_id: 'a1', position: { x: 1 } }] });
    roster.apply({ type: 'presence', room: '', joins: [join('bob', 'b1'), join('bob', 'b2', false)] });
    roster.moveCursors([{ connection_id: 'b1', position: { x: 2 } }, { connection_id: 'b2', position: { x: 3 } }]);
    roster.moveCursors([{ connection_id: 'a1', position: null }]);
    assert.deepEqual([...roster.cursors], [['b1', { x: 2 }], ['b2', { x: 3 }]]);
    assert.equal(roster.ownerOf('b2')?.name, 'bob');
    roster.apply({ type: 'presence', room: '', leaves: [leave('bob', 'b1', false), leave('bob', 'b2')] });
    assert.deepEqual([...roster.cursors], []);
  });

  test('counts people beyond those listed', () => {
    const roster = start({ members_total: 500 });
    roster.apply({ type: 'presence', room: '', joins: [join('bob', 'b1')], leaves: [leave('unlisted', 'u1')] });
    assert.equal(roster.total, 500);
  });
});
