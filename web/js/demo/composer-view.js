// @ts-check
/** Where one writes. Enter sends, Shift+Enter is a new line. Touches the composer and the line that says who is typing. */
import { byId, listen, setText } from './dom.js';

export class ComposerView {
  #field = byId('composer');

  /**
   * @param {{onSend: (text: string) => void, onChange: (isEmpty: boolean) => void, signal: AbortSignal}} options
   */
  constructor({ onSend, onChange, signal }) {
    const send = () => {
      const text = this.#field.value.trim();
      if (!text) return;
      this.#field.value = '';
      this.#fit();
      onSend(text);
    };
    listen(byId('composer-form'), 'submit', (event) => {
      event.preventDefault();
      send();
      this.#field.focus();
    }, signal);
    listen(this.#field, 'keydown', (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    }, signal);
    listen(this.#field, 'input', () => {
      this.#fit();
      onChange(this.#field.value.trim() === '');
    }, signal);
    this.#fit();
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  /** @param {string} text */
  showTyping(text) {
    setText(byId('typing'), text);
  }

  /** As high as its text, up to what the style allows. */
  #fit() {
    this.#field.style.height = 'auto';
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
