export type Child = Node | string

type Tag = keyof HTMLElementTagNameMap
type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/**
 * Creates an element: `el('p.quiet', { id: 'note' }, 'Text')`. Attributes that are false or
 * undefined are left out. Strings become text nodes, never markup.
 */
export function el<K extends Tag>(name: K | `${K}.${string}`, ...parts: readonly (Attributes | Child)[]) {
  const [tag, ...classes] = name.split('.')
  const element = document.createElement(tag as K)
  if (classes.length > 0) element.className = classes.join(' ')
  for (const part of parts) {
    if (typeof part === 'string' || part instanceof Node) element.append(part)
    else setAttributes(element, part)
  }
  return element
}

export function button(label: Child, attributes: Attributes, onClick: (event: MouseEvent) => void): HTMLButtonElement {
  const element = el('button', { type: 'button', ...attributes }, label)
  element.addEventListener('click', onClick)
  return element
}

/** Finds an element of the page. Throws if it is missing or of another kind. */
export function byId<T extends HTMLElement = HTMLElement>(
  id: string,
  kind: abstract new () => T = HTMLElement as never,
): T {
  const element = document.getElementById(id)
  if (element instanceof kind) return element
  throw new Error(`the page has no ${kind.name} #${id}`)
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  }
}
