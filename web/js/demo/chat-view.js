// @ts-check
/**
 * The list of messages. Delivered ones stand in the order of the room, own ones that are still on their way below them.
 * Touches the list, and scrolls: who reads the latest keeps reading the latest, who has scrolled back is left in peace.
 */
import { startsDay, startsGroup } from './chat-rows.js';
import { byId, clone, listen, paintAvatar, part, setText } from './dom.js';

/** This close to an end counts as there. */
const NEAR_PX = 80;

/** @typedef {import('./chat-rows.js').Row} Row */

export class ChatView {
  #scroller = byId('messages');
  #list = byId('message-list');
  #toLatest = byId('to-latest');
  #loadOlder = byId('load-older');
  /** @type {Map<string, {row: Row, element: HTMLElement}>} by message id */
  #items = new Map();
  /** @type {WeakMap<Element, Row>} */
  #rowOf = new WeakMap();
  /** Whether the newest message is to stay in view. */
  #stick = true;

  /**
   * @param {object} options
   * @param {(row: Row) => boolean} options.isOwn
   * @param {(userId: string) => string} options.colorOf
   * @param {(id: string) => void} options.onRetry
   * @param {(id: string) => unknown} options.onDiscard
   * @param {(isAsked: boolean) => void} options.onOlder older messages are wanted: by the button, or by scrolling up to them
   * @param {() => void} options.onLatest the latest message is in view
   * @param {AbortSignal} options.signal
   */
  constructor(options) {
    this.options = options;
    const { signal } = options;
    listen(this.#scroller, 'scroll', () => this.#scrolled(), signal);
    listen(this.#toLatest, 'click', () => this.toLatest(), signal);
    listen(this.#loadOlder, 'click', () => options.onOlder(true), signal);
    const observer = new ResizeObserver(() => this.#stick && this.toLatest());
    observer.observe(this.#scroller);
    signal.addEventListener('abort', () => observer.disconnect());
    this.#list.replaceChildren();
    this.#loadOlder.hidden = byId('beginning').hidden = this.#toLatest.hidden = true;
  }

  /** @param {Row} row */
  isOwn(row) {
    return this.options.isOwn(row);
  }

  get isAtLatest() {
    return this.#stick;
  }

  /** @param {Row[]} delivered @param {Row[]} outgoing */
  reset(delivered, outgoing) {
    this.#items.clear();
    this.#silently(() => {
      this.#list.replaceChildren();
      for (const row of [...delivered, ...outgoing]) this.#insert(row, null);
    });
    this.#stick = true;
    this.toLatest();
  }

  /** A message took its place in the room. @param {Row} row */
  deliver(row) {
    const known = this.#items.get(row.id)?.element;
    const before = this.#firstOutgoing(known);
    if (known && (known.nextElementSibling === before || known === before)) this.#paint(known, row);
    else this.#insert(row, before);
    delete this.#items.get(row.id)?.element.dataset.outgoing;
    this.#grown();
  }

  /** An own message is on its way, arrived or failed; it takes its place when the room tells of it. @param {Row} row */
  track(row) {
    const known = this.#items.get(row.id);
    if (known) return this.#paint(known.element, { ...row, at: known.row.at });
    this.#insert(row, null).dataset.outgoing = '';
    this.#stick = true;
    this.#grown();
  }

  /** @param {Row[]} rows older ones, oldest first */
  prepend(rows) {
    const { scrollHeight, scrollTop } = this.#scroller;
    const first = this.#list.firstElementChild;
    this.#silently(() => rows.forEach((row) => this.#insert(row, first)));
    this.#scroller.scrollTop = scrollTop + this.#scroller.scrollHeight - scrollHeight;
  }

  /** @param {string} id */
  remove(id) {
    const element = this.#items.get(id)?.element;
    if (!element) return;
    const next = element.nextElementSibling;
    element.remove();
    this.#items.delete(id);
    if (next) this.#group(next);
  }

  /** The room no longer holds what is older. @param {number} seq */
  dropBefore(seq) {
    for (let first; (first = this.#list.firstElementChild) && (this.#rowOf.get(first)?.seq ?? seq) < seq; ) {
      this.remove(this.#rowOf.get(first)?.id ?? '');
    }
  }

  /** @param {string} userId whose colour has become known */
  repaint(userId) {
    for (const { row, element } of this.#items.values()) if (row.userId === userId) this.#paint(element, row);
  }

  /** @param {{hasOlder: boolean, isLoading: boolean, hasFailed: boolean}} history */
  showHistory({ hasOlder, isLoading, hasFailed }) {
    this.#loadOlder.hidden = !hasOlder;
    this.#loadOlder.disabled = isLoading;
    setText(this.#loadOlder, isLoading ? 'Loading' : hasFailed ? 'Could not load, try again' : 'Earlier messages');
    byId('beginning').hidden = hasOlder;
  }

  toLatest() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolled();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#stick = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#stick) {
      this.#toLatest.hidden = true;
      this.options.onLatest();
    }
    if (scrollTop < NEAR_PX && scrollHeight > clientHeight) this.options.onOlder(false);
  }

  #grown() {
    if (this.#stick) this.toLatest();
    else this.#toLatest.hidden = false;
  }

  /** @param {Element | undefined} except @returns {Element | null} */
  #firstOutgoing(except) {
    return [...this.#list.querySelectorAll('[data-outgoing]')].find((element) => element !== except) ?? null;
  }

  /** Without reading it all aloud. @param {() => void} change */
  #silently(change) {
    this.#scroller.setAttribute('aria-busy', 'true');
    change();
    requestAnimationFrame(() => this.#scroller.removeAttribute('aria-busy'));
  }

  /** @param {Row} row @param {Element | null} before @returns {HTMLElement} */
  #insert(row, before) {
    const element = this.#items.get(row.id)?.element ?? this.#make(row.id);
    const follower = element.nextElementSibling;
    this.#list.insertBefore(element, before);
    this.#paint(element, row);
    for (const next of [follower, element.nextElementSibling]) if (next) this.#group(next);
    return element;
  }

  /** @param {string} id */
  #make(id) {
    const element = clone('message-template');
    part(element, '.retry').addEventListener('click', () => this.options.onRetry(id));
    part(element, '.discard').addEventListener('click', () => this.options.onDiscard(id));
    return element;
  }

  /** @param {HTMLElement} element @param {Row} row */
  #paint(element, row) {
    this.#items.set(row.id, { row, element });
    this.#rowOf.set(element, row);
    const isOwn = this.isOwn(row);
    Object.assign(element.dataset, { seq: String(row.seq ?? ''), state: row.state, name: row.name, own: String(isOwn) });
    paintAvatar(part(element, '.avatar'), { name: row.name, color: this.options.colorOf(row.userId) });
    setText(part(element, '.who'), isOwn ? 'You' : row.name);
    setText(part(element, '.text'), row.text);
    const at = new Date(row.at ?? '');
    const time = part(element, 'time');
    time.dateTime = row.at ?? '';
    time.title = at.toLocaleString();
    setText(time, at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    setText(part(element, '.day'), at.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long' }));
    setText(part(element, '.mark-text'), markText(row, isOwn));
    this.#group(element);
  }

  /** @param {Element} element */
  #group(element) {
    const row = this.#rowOf.get(element);
    const before = (element.previousElementSibling && this.#rowOf.get(element.previousElementSibling)) || null;
    if (!row) return;
    element.classList.toggle('new-day', startsDay(before, row));
    element.classList.toggle('new-group', startsGroup(before, row));
  }
}

/** @param {Row} row @param {boolean} isOwn */
function markText({ state, problem }, isOwn) {
  if (state === 'failed') return problem;
  if (!isOwn) return '';
  return state === 'pending' ? 'Sending' : 'Delivered';
}
