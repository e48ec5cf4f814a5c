// @ts-check
/** Own messages over a connection that breaks: pending till acknowledged, delivered once, failed only for good reasons. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { joinedWorld, message, settled } from './support/fakes.js';

const error = (/** @type {number} */ ref, /** @type {string} */ code, fields = {}) => ({ type: 'error', ref, code, message: code, ...fields });

/** @param {any} w @param {number} seq */
function ack(w, seq) {
  const { ref, id } = w.socket().last('message');
  w.socket().say({ type: 'ack', ref, room: 'demo/lobby', id, seq, duplicate: false });
}

describe('sending', () => {
  test('pending until the ack, then delivered', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send({ text: 'hi' });
    assert.deepEqual(w.socket().last('message').body, { text: 'hi' });
    assert.equal(delivery.state, 'pending');
    ack(w, 1);
    assert.deepEqual([delivery.state, delivery.seq, (await delivery.settled).state], ['delivered', 1, 'delivered']);
    assert.deepEqual(w.events.filter(([name]) => name === 'delivery').map(([, { id }]) => id), [delivery.id, delivery.id]);
    assert.deepEqual(w.room.outgoing, []);
  });

  test('its own echo is as good as the ack, and both together are one delivery', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('hi');
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(1, { id: delivery.id }) });
    assert.equal(delivery.state, 'delivered');
    ack(w, 1);
    assert.equal(w.events.filter(([name]) => name === 'delivery').length, 2, 'pending, delivered');
  });

  test('in the order written, one on its way at a time', async () => {
    const w = await joinedWorld();
    for (const body of ['a', 'b', 'c']) w.room.send(body);
    for (const seq of [1, 2, 3]) {
      assert.equal(w.socket().frames('message').length, seq);
      ack(w, seq);
    }
    assert.deepEqual(w.socket().frames('message').map(({ body }) => body), ['a', 'b', 'c']);
  });

  test('written while offline: sent after the room is joined again', async () => {
    const w = await joinedWorld();
    w.socket().end(1006);
    const deliveries = ['a', 'b'].map((body) => w.room.send(body));
    await w.clock.advance(500);
    w.socket().welcome();
    assert.deepEqual(w.socket().frames('message'), [], 'not before the join is answered');
    w.socket().joined();
    ack(w, 1);
    ack(w, 2);
    assert.deepEqual(deliveries.map(({ state, seq }) => [state, seq]), [['delivered', 1], ['delivered', 2]]);
  });

  test('lost on the way: the same id again', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('a');
    w.socket().end(1006);
    await w.clock.advance(500);
    w.socket().welcome();
    w.socket().joined();
    assert.equal(w.socket().last('message').id, delivery.id);
  });

  test('only the ack was lost: the replay settles it, and it is not sent again', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('a');
    w.socket().end(1006);
    await w.clock.advance(500);
    w.socket().welcome();
    w.socket().joined({ seq: 1, messages: [message(1, { id: delivery.id })] });
    assert.equal(delivery.state, 'delivered');
    assert.deepEqual(w.socket().frames('message'), []);
  });

  test('no answer at all on a living connection: the same id again', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('a');
    await w.clock.advance(9_999);
    w.socket().say({ type: 'heartbeat' });
    await w.clock.advance(1);
    assert.deepEqual(w.socket().frames('message').map(({ id }) => id), [delivery.id, delivery.id]);
  });

  for (const code of ['rate_limited', 'unavailable']) {
    test(`${code}: stays pending and goes again when told, those behind it after it`, async () => {
      const w = await joinedWorld();
      const [a, b] = ['a', 'b'].map((body) => w.room.send(body));
      w.socket().say(error(w.socket().last('message').ref, code, { retry_after_ms: 800 }));
      assert.equal(a.state, 'pending');
      await w.clock.advance(799);
      assert.equal(w.socket().frames('message').length, 1);
      await w.clock.advance(1);
      ack(w, 1);
      ack(w, 2);
      assert.deepEqual([a.seq, b.seq], [1, 2]);
    });
  }

  test('not_joined: joins again, then sends it', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('a');
    w.socket().say(error(w.socket().last('message').ref, 'not_joined'));
    assert.equal(w.socket().frames('join').length, 2);
    w.socket().joined();
    await w.clock.advance(1_000);
    ack(w, 1);
    assert.equal(delivery.state, 'delivered');
  });

  test('a final error: failed, with a reason; a person may try again', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('a');
    w.socket().say(error(w.socket().last('message').ref, 'forbidden'));
    assert.deepEqual([delivery.state, delivery.error?.code, (await delivery.settled).state], ['failed', 'forbidden', 'failed']);
    assert.equal(w.room.retry(delivery.id), true);
    assert.equal(delivery.state, 'pending');
    ack(w, 1);
    assert.deepEqual([delivery.state, delivery.error], ['delivered', null]);
  });

  test('a message that would cost the connection never leaves', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('x'.repeat(70_000));
    assert.deepEqual([delivery.state, delivery.error?.code, w.socket().frames('message').length], ['failed', 'too_large', 0]);
    w.room.send('fine');
    assert.equal(w.socket().last('message').body, 'fine');
  });

  test('what may wait has a bound', async () => {
    const w = await joinedWorld();
    w.socket().end(1006);
    const deliveries = Array.from({ length: 1_001 }, (_, n) => w.room.send(n));
    assert.deepEqual([deliveries[999].state, deliveries[1_000].error?.code], ['pending', 'outbox_full']);
  });

  test('leaving the room ends what was pending', async () => {
    const w = await joinedWorld();
    const delivery = w.room.send('a');
    w.room.leave();
    await settled();
    assert.deepEqual([delivery.state, delivery.error?.code], ['failed', 'left']);
  });

  test('a listener that throws stops nobody', async () => {
    const w = await joinedWorld();
    /** @type {any[]} */
    const thrown = [];
    const keep = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (reason) => thrown.push(reason));
    let heard = 0;
    w.room.on('message', () => {
      throw new Error('a fault of the page');
    });
    w.room.on('message', () => (heard += 1));
    w.socket().say({ type: 'message', room: 'demo/lobby', ...message(1) });
    await settled();
    process.removeAllListeners('uncaughtException');
    for (const listener of keep) process.on('uncaughtException', listener);
    assert.deepEqual([heard, thrown.length], [1, 1]);
  });
});
