// @ts-check
/**
 * The few things every view needs of the document: find, clone a template, paint a person's colour. Text is only ever written as
 * `textContent`, so nothing that people type can become markup.
 */
import { colorOf, initials, inkOn } from './people.js';

/** @param {string} id @returns {any} the element; a missing one is a fault of the page */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`#${id} is missing`);
  return element;
}

/** @param {string} templateId @returns {HTMLElement} */
export function clone(templateId) {
  return /** @type {HTMLElement} */ (byId(templateId).content.firstElementChild.cloneNode(true));
}

/** @param {Element} parent @param {string} selector @returns {any} */
export function part(parent, selector) {
  const element = parent.querySelector(selector);
  if (!element) throw new Error(`${selector} is missing`);
  return element;
}

/** Writes only what differs: less work, and screen readers are told of changes alone. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {string} color */
export function paint(element, color) {
  element.style.setProperty('--tint', color);
  element.style.setProperty('--tint-ink', inkOn(color));
}

/**
 * @param {HTMLElement} element
 * @param {{name: string, color?: string, avatarUrl?: string}} person
 */
export function paintAvatar(element, { name, color, avatarUrl }) {
  paint(element, colorOf({ color }));
  if (!avatarUrl || !/^https:/.test(avatarUrl)) return setText(element, initials(name));
  if (element.dataset.url === avatarUrl) return;
  element.dataset.url = avatarUrl;
  const image = document.createElement('img');
  image.alt = '';
  image.referrerPolicy = 'no-referrer';
  image.addEventListener('error', () => setText(element, initials(name)));
  image.src = avatarUrl;
  element.replaceChildren(image);
}

/**
 * Listens until `signal` says stop.
 * @param {EventTarget} target
 * @param {string} event
 * @param {(event: any) => void} listener
 * @param {AbortSignal} signal
 */
export function listen(target, event, listener, signal) {
  target.addEventListener(event, listener, { signal });
}
