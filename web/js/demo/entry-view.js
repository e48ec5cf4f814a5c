// @ts-check
/** The door: name, room, and the rooms that are there. Touches the entry page and nothing else. */
import { byId, clone, part, setText } from './dom.js';
import { roomOfText } from './page-address.js';
import { factsText } from './room-list.js';

export class EntryView {
  #page = byId('entry-page');
  #form = byId('entry-form');
  #name = byId('name');
  #room = byId('room');
  #error = byId('entry-error');

  /** @param {{onEnter: (name: string, room: string) => void, onName: (name: string) => void}} handlers */
  constructor({ onEnter, onName }) {
    this.#form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      const name = this.#name.value.trim();
      const room = roomOfText(this.#room.value);
      if (!name && !this.#name.disabled) return this.#complain('Please say who you are.', this.#name);
      if (!room) return this.#complain('A room is two words of letters, digits, - and _: like demo/lobby.', this.#room);
      this.#room.value = room;
      onEnter(name, room);
    });
    this.#name.addEventListener('change', () => onName(this.#name.value.trim()));
    for (const field of [this.#name, this.#room]) field.addEventListener('input', () => this.#complain('', null));
  }

  get isShown() {
    return !this.#page.hidden;
  }

  /** @param {{name: string, room: string, error?: string, isNamed?: boolean}} fields `isNamed`: a token says who we are */
  show({ name, room, error = '', isNamed = false }) {
    document.title = 'Hubbub: everyone in the room, live';
    this.#page.hidden = false;
    this.#name.value = name;
    this.#name.disabled = isNamed;
    byId('name-field').hidden = isNamed;
    this.#room.value = room || 'demo/lobby';
    this.#complain(error, null);
    (name || isNamed ? this.#room : this.#name).focus({ preventScroll: true });
  }

  hide() {
    this.#page.hidden = true;
  }

  /** @param {import('./room-list.js').RoomFacts[]} rooms */
  showRooms(rooms) {
    const rows = rooms.map((facts) => {
      const row = clone('room-template');
      setText(part(row, '.room-name'), facts.room);
      setText(part(row, '.room-facts'), factsText(facts));
      row.classList.toggle('is-live', facts.online > 0);
      part(row, 'button').addEventListener('click', () => {
        this.#room.value = facts.room;
        this.#form.requestSubmit();
      });
      return row;
    });
    byId('room-list').replaceChildren(...rows);
    byId('rooms').hidden = rows.length === 0;
  }

  /** @param {string} text @param {HTMLElement | null} field */
  #complain(text, field) {
    setText(this.#error, text);
    for (const one of [this.#name, this.#room]) one.setAttribute('aria-invalid', String(one === field));
    field?.focus();
  }
}
