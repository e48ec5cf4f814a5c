// @ts-check
/** When to send, wait and give up: backoff, liveness, and the lane where the latest wins. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Backoff } from '../js/hubbub/backoff.js';
import { Latest } from '../js/hubbub/latest.js';
import { Liveness } from '../js/hubbub/liveness.js';
import { FakeClock } from './support/fakes.js';

describe('backoff', () => {
  test('doubles up to a ceiling, half of it by chance', () => {
    const low = new Backoff({ baseMs: 1_000, maxMs: 8_000, random: () => 0 });
    assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => low.next()), [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
    const high = new Backoff({ baseMs: 1_000, maxMs: 8_000, random: () => 0.999 });
    assert.deepEqual([1, 2, 3, 4, 5].map(() => high.next()), [1_000, 1_999, 3_998, 7_996, 7_996]);
  });

  test('begins anew after a success', () => {
    const backoff = new Backoff({ random: () => 0 });
    backoff.next();
    backoff.next();
    assert.equal(backoff.failures, 2);
    backoff.reset();
    assert.deepEqual([backoff.failures, backoff.next()], [0, 500]);
  });
});

describe('liveness', () => {
  test('an answered heartbeat is life, an unanswered one is death at the next tick', () => {
    const life = new Liveness(10);
    assert.equal(life.tick(10), 'ask');
    life.heard();
    assert.equal(life.tick(20), 'ask');
    assert.equal(life.tick(30), 'dead');
  });

  test('silence alone is no death: a hidden tab ticks once a minute', () => {
    const life = new Liveness(10);
    for (let now = 60; now < 600; now += 60) {
      assert.equal(life.tick(now), 'ask');
      life.heard();
    }
  });

  test('in doubt the answer is expected sooner', () => {
    const life = new Liveness(10_000);
    life.doubt(100, 4_000);
    assert.equal(life.tick(4_099), 'ask');
    assert.equal(life.tick(4_100), 'dead');
    life.doubt(5_000, 4_000);
    life.heard();
    assert.equal(life.tick(10_000), 'ask');
    assert.equal(life.tick(14_000), 'ask', 'back to the usual deadline');
  });
});

describe('latest wins', () => {
  const lane = (send = () => true) => {
    const clock = new FakeClock();
    /** @type {any[]} */
    const sent = [];
    const latest = new Latest({ intervalMs: 33, clock, send: (value) => send() && sent.push([clock.time, value]) > 0 });
    return { clock, sent, latest };
  };

  test('the first goes at once, then the newest per interval, and the last always gets through', async () => {
    const { clock, sent, latest } = lane();
    for (let n = 0; n < 20; n += 1) {
      latest.push(n);
      await clock.advance(5);
    }
    await clock.advance(100);
    assert.deepEqual(sent.map(([at]) => at), [0, 33, 66, 99]);
    assert.deepEqual([sent[0][1], sent.at(-1)[1]], [0, 19]);
  });

  test('what could not be sent is kept, in its newest form', () => {
    let online = false;
    const { sent, latest } = lane(() => online);
    latest.push('a');
    latest.push('b');
    online = true;
    latest.flush();
    assert.deepEqual(sent, [[0, 'b']]);
  });

  test('a pause is kept', async () => {
    const { clock, sent, latest } = lane();
    latest.pause(500);
    latest.push('a');
    await clock.advance(499);
    assert.deepEqual(sent, []);
    await clock.advance(1);
    assert.deepEqual(sent, [[500, 'a']]);
  });
});
