// @ts-check
/** Typing, both ways, as an ephemeral broadcast that expires by itself. */
import { Typists, TypingSignal, typingText } from './typing.js';

/** How often the line is looked at while somebody types. */
const LOOK_MS = 250;

/**
 * @param {import('./room-page.js').Visit} visit
 * @param {(text: string) => void} show
 * @returns {{changed: (isEmpty: boolean) => void, sent: () => void}} for the own composer
 */
export function wireTyping({ hub, room, signal }, show) {
  const typists = new Typists();
  const own = new TypingSignal();
  /** @type {any} */
  let timer = null;
  const look = () => {
    clearTimeout(timer);
    const names = signal.aborted ? [] : typists.names(performance.now());
    show(typingText(names));
    if (names.length > 0) timer = setTimeout(look, LOOK_MS);
  };

  room.on('broadcast', ({ event, data, from }) => {
    if (event !== 'typing' || from.user_id === hub.user?.user_id) return;
    typists.heard(from, data, performance.now());
    look();
  });
  room.on('message', ({ from }) => {
    typists.ended(from.user_id);
    look();
  });
  room.on('presence', ({ gone }) => {
    for (const user of gone) typists.ended(user.user_id);
    look();
  });
  signal.addEventListener('abort', look);

  return {
    changed: (isEmpty) => {
      const say = own.changed(isEmpty, performance.now());
      if (say) room.broadcast('typing', say);
    },
    sent: () => own.sent(),
  };
}
