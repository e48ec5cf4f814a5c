// @ts-check
/** The messages held: one run without hole or double, whatever arrives. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Timeline } from '../js/hubbub/timeline.js';
import { message, messages } from './support/fakes.js';

describe('timeline', () => {
  const seqs = (/** @type {{seq: number}[]} */ list) => list.map(({ seq }) => seq);

  test('any order, any duplication: the same run', () => {
    const expected = [8, 9, 10, 11, 12, 13, 14, 15];
    let seed = 7;
    const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (let round = 0; round < 200; round += 1) {
      const timeline = new Timeline();
      timeline.start(messages(8, 10), 10);
      const arrivals = [...messages(9, 15), ...messages(9, 15)].sort(() => random() - 0.5);
      const delivered = arrivals.flatMap((one) => timeline.accept([one]).delivered);
      assert.deepEqual(seqs(delivered), [11, 12, 13, 14, 15]);
      assert.deepEqual(seqs(timeline.messages), expected);
      assert.equal(timeline.hole, null);
    }
  });

  test('names the hole and holds back what is beyond it', () => {
    const timeline = new Timeline();
    timeline.start(messages(1, 3), 3);
    assert.deepEqual(timeline.accept([message(6)]).delivered, []);
    assert.deepEqual([timeline.head, timeline.hole], [3, { after: 3, before: 6 }]);
    timeline.skipTo(6);
    assert.deepEqual([seqs(timeline.messages), timeline.hole], [[6], null]);
  });

  test('a head that the hub names is a hole as well', () => {
    const timeline = new Timeline();
    timeline.start([], 3);
    assert.equal(timeline.hole, null);
    timeline.expect(5);
    assert.deepEqual(timeline.hole, { after: 3, before: 6 });
  });

  test('another message under a passed seq is a conflict, the same one is not', () => {
    const timeline = new Timeline();
    timeline.start(messages(5, 9), 9);
    assert.equal(timeline.accept([message(7)]).conflict, false);
    assert.equal(timeline.accept([message(7, { id: 'other' })]).conflict, true);
    assert.equal(timeline.accept([message(1)]).conflict, true);
  });

  test('older pages go in front only where they fit', () => {
    const timeline = new Timeline();
    timeline.start(messages(11, 12), 12);
    assert.deepEqual(seqs(timeline.prepend(messages(8, 11).reverse())), [8, 9, 10]);
    assert.deepEqual(seqs(timeline.prepend(messages(2, 4))), []);
    assert.deepEqual([seqs(timeline.messages), timeline.first], [[8, 9, 10, 11, 12], 8]);
  });

  test('a page open for days keeps the latest, but not fewer than were scrolled back to', () => {
    const timeline = new Timeline({ keep: 3 });
    timeline.start(messages(10, 11), 11);
    assert.equal(timeline.accept(messages(12, 14)).trimmed, 2);
    assert.deepEqual(seqs(timeline.messages), [12, 13, 14]);
    timeline.prepend(messages(9, 11));
    timeline.accept([message(15)]);
    assert.equal(timeline.messages.length, 6);
  });
});
