// @ts-check
/** Room to chat and back: messages in order, own ones until they are delivered, older ones on demand, who is typing, what is unread. */
import { rowOfEntry, rowOfMessage } from './chat-rows.js';
import { ChatView } from './chat-view.js';
import { ComposerView } from './composer-view.js';
import { listen } from './dom.js';
import { wireTyping } from './wire-typing.js';

/** @param {import('./room-page.js').Visit} visit */
export function wireChat(visit) {
  const { hub, room, ownName, colors, signal } = visit;
  const own = () => hub.user ?? { user_id: '', name: ownName };
  const older = new OlderPages(room, () => !signal.aborted && chat.showHistory(older.state));
  const unread = new Unread(room);
  const chat = new ChatView({
    isOwn: ({ userId }) => userId === own().user_id || userId === '',
    colorOf: (userId) => colors.of(userId || own().user_id),
    onRetry: (id) => void room.retry(id),
    onDiscard: (id) => room.discard(id) && chat.remove(id),
    onOlder: (isAsked) => void older.load(isAsked),
    onLatest: () => unread.seen(),
    signal,
  });
  const composer = new ComposerView({
    onSend: (text) => {
      typing.sent();
      room.send({ text });
    },
    onChange: (isEmpty) => typing.changed(isEmpty),
    signal,
  });
  const typing = wireTyping(visit, (text) => composer.showTyping(text));

  /** When own messages were written; the hub's time takes its place. @type {Map<string, string>} */
  const writtenAt = new Map();
  const rowOf = (/** @type {import('../hubbub/index.js').Entry} */ entry) => {
    const at = writtenAt.get(entry.id) ?? new Date().toISOString();
    writtenAt.set(entry.id, at);
    return rowOfEntry(entry, own(), at);
  };
  const showAll = () => {
    if (signal.aborted) return;
    chat.reset(room.messages.map(rowOfMessage), room.outgoing.map(rowOf));
    chat.showHistory(older.state);
  };
  colors.onLearnt = (userId) => chat.repaint(userId);
  room.on('joined', ({ first }) => first && showAll());
  room.on('reset', () => queueMicrotask(showAll));
  room.on('delivery', (entry) => chat.track(rowOf(entry)));
  room.on('older', ({ messages }) => chat.prepend(messages.map(rowOfMessage)));
  room.on('message', (message) => {
    const row = rowOfMessage(message);
    writtenAt.delete(row.id);
    chat.deliver(row);
    chat.dropBefore(room.messages[0]?.seq ?? 0);
    unread.arrived(chat.isOwn(row), chat.isAtLatest);
  });
  listen(document, 'visibilitychange', () => chat.isAtLatest && unread.seen(), signal);
  unread.show();
  composer.focus();
}

/** Loading older messages, one page at a time; after a failure only when asked, not with every pixel scrolled. */
class OlderPages {
  #isLoading = false;
  #hasFailed = false;

  /** @param {import('../hubbub/index.js').Room} room @param {() => void} onChange */
  constructor(room, onChange) {
    this.room = room;
    this.onChange = onChange;
  }

  get state() {
    return { hasOlder: this.room.hasOlder, isLoading: this.#isLoading, hasFailed: this.#hasFailed };
  }

  /** @param {boolean} isAsked by a person */
  async load(isAsked) {
    if (this.#isLoading || !this.room.hasOlder || (this.#hasFailed && !isAsked)) return;
    this.#become(true, false);
    const hasFailed = await this.room.loadOlder().then(() => false, () => true);
    this.#become(false, hasFailed);
  }

  /** @param {boolean} isLoading @param {boolean} hasFailed */
  #become(isLoading, hasFailed) {
    this.#isLoading = isLoading;
    this.#hasFailed = hasFailed;
    this.onChange();
  }
}

/** What arrived while nobody looked: a number in the title, and the read marker for the hub. */
class Unread {
  #count = 0;

  /** @param {import('../hubbub/index.js').Room} room */
  constructor(room) {
    this.room = room;
  }

  /** @param {boolean} isOwn @param {boolean} isAtLatest */
  arrived(isOwn, isAtLatest) {
    if (!isOwn) this.#count += 1;
    if (isAtLatest) this.seen();
    this.show();
  }

  /** The latest message is in view, if anybody looks. */
  seen() {
    const last = this.room.messages.at(-1);
    if (!last || document.visibilityState === 'hidden') return;
    this.room.markRead(last.seq);
    this.#count = 0;
    this.show();
  }

  show() {
    document.title = `${this.#count > 0 ? `(${this.#count}) ` : ''}${this.room.name} · Hubbub`;
  }
}
