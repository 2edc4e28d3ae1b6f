export type Child = Node | string

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** Makes an element. An attribute that is false or undefined is left out; text is text, never markup. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue
    element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children)
  return element
}

/** `focus` names it among all of the page: where its place is drawn anew, the focus comes back to it. */
export function button(label: Child, attributes: Attributes & { focus?: string }, onClick: () => void) {
  const { focus, ...rest } = attributes
  const made = el('button', { type: 'button', 'data-focus': focus, ...rest }, label)
  made.addEventListener('click', onClick)
  return made
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`#${id} is missing from the page`)
  return found as T
}

/** Changes nothing where nothing has changed: what reads the page aloud is not disturbed. */
export function setText(target: HTMLElement | string, text: string): void {
  const element = typeof target === 'string' ? byId(target) : target
  if (element.textContent !== text) element.textContent = text
}

/** Puts these in the place of all that was in there, if they are not the same. */
export function fill(target: HTMLElement | string, ...children: readonly Child[]): void {
  const element = typeof target === 'string' ? byId(target) : target
  const next = element.cloneNode(false) as HTMLElement
  next.append(...children)
  if (element.isEqualNode(next)) return
  keepingFocus(() => element.replaceChildren(...next.childNodes))
}

/** Where what had the focus goes by a change, its successor gets it. */
export function keepingFocus(change: () => void): void {
  const { activeElement: before } = document
  const name = before instanceof HTMLElement ? before.dataset.focus : undefined
  change()
  if (before?.isConnected || name === undefined) return
  refocus(name)
}

export function refocus(name: string): void {
  document.querySelector<HTMLElement>(`[data-focus="${CSS.escape(name)}"]`)?.focus()
}

/** Says something to those who listen to the page. */
export function announce(text: string): void {
  const place = byId('spoken')
  // The same words again are news, too.
  place.textContent = place.textContent === text ? `${text}\u00a0` : text
}

/** A word on a coloured ground: the colour never says it alone. */
export function chip(text: string, kind: 'good' | 'warn' | 'bad' | 'plain' = 'plain'): HTMLElement {
  return el('span', { class: `chip ${kind}` }, text)
}
