// @ts-check
/** Own messages until they are acknowledged: order, retries, verdicts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Outbox } from '../js/hubbub/outbox.js';

describe('outbox', () => {
  const error = (/** @type {number} */ ref, code = 'forbidden', retry_after_ms = undefined) =>
    /** @type {any} */ ({ type: 'error', ref, code, message: code, retry_after_ms });

  test('one message at a time, in order', () => {
    const box = new Outbox();
    const [a, b] = [box.add('a', 1), box.add('b', 2)];
    assert.equal(box.next(0), a);
    box.sent(a, 1, 0);
    assert.equal(box.next(0), null);
    assert.equal(box.settle('a', 7)?.seq, 7);
    assert.equal(box.next(0), b);
    assert.equal(box.settle('a', 7), null, 'a second answer is nothing new');
  });

  test('lost on the way: the same message under the same id again', () => {
    const box = new Outbox();
    const a = box.add('a', 1);
    box.sent(a, 1, 0);
    box.lost();
    assert.equal(box.next(0)?.id, 'a');
  });

  test('rate limited: waits as told, and so do those behind it', () => {
    const box = new Outbox();
    const a = box.add('a', 1);
    box.add('b', 2);
    box.sent(a, 1, 100);
    assert.equal(box.refused(error(1, 'rate_limited', /** @type {any} */ (800)), 100)?.verdict, 'later');
    assert.equal(box.next(899), null);
    assert.equal(box.next(900), a);
    assert.equal(a.state, 'pending');
  });

  test('unavailable without a time: waits longer each time, for as long as it takes', () => {
    const box = new Outbox();
    const a = box.add('a', 1);
    const waits = [];
    for (let ref = 0, now = 0; ref < 8; ref += 1) {
      box.sent(a, ref, now);
      box.refused(error(ref, 'unavailable'), now);
      waits.push(box.notBefore - now);
      now = box.notBefore;
    }
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    assert.equal(a.state, 'pending');
  });

  test('a final error fails it and lets the next one go; a person may retry or discard', () => {
    const box = new Outbox();
    const [a, b] = [box.add('a', 1), box.add('b', 2)];
    box.sent(a, 1, 0);
    assert.equal(box.refused(error(1), 0)?.verdict, 'final');
    assert.deepEqual([a.state, a.error?.code, box.next(0)], ['failed', 'forbidden', b]);
    assert.equal(box.retry('a'), a);
    assert.deepEqual(box.entries, [b, a]);
    assert.equal(box.discard('a'), false, 'pending again: it may be stored already');
  });

  test('a fault inside the hub does not block the queue for ever', () => {
    const box = new Outbox();
    const a = box.add('a', 1);
    const verdicts = [];
    for (let ref = 0; ref < 5; ref += 1) {
      box.sent(a, ref, 0);
      verdicts.push(box.refused(error(ref, 'internal'), 0)?.verdict);
    }
    assert.deepEqual(verdicts, ['later', 'later', 'later', 'later', 'final']);
  });

  test('an error for something else is not ours', () => {
    const box = new Outbox();
    box.sent(box.add('a', 1), 5, 0);
    assert.equal(box.refused(error(4), 0), null);
  });
});
