import { byId, type Child } from '../../dom.js'

/** Replaces the content of an element if it differs. Keeps the focus. */
export function fill(target: HTMLElement | string, ...children: readonly Child[]): void {
  const element = typeof target === 'string' ? byId(target) : target
  const next = element.cloneNode(false) as HTMLElement
  next.append(...children)
  if (element.isEqualNode(next)) return
  keepFocus(() => element.replaceChildren(...next.childNodes))
}

/** Runs a change. A removed focus moves to the new element with the same `data-focus`. */
export function keepFocus(change: () => void): void {
  const { activeElement: before } = document
  change()
  if (before instanceof HTMLElement && !before.isConnected) focusNamed(before.dataset.focus)
}

export function focusNamed(name = ''): void {
  document.querySelector<HTMLElement>(`[data-focus="${CSS.escape(name)}"]`)?.focus()
}

/** Announces a text to screen readers. */
export function announce(text: string): void {
  const region = byId('announcement')
  // A screen reader ignores an unchanged text, so a repeated one gets a space at its end.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text
}
