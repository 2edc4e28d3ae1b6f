/** The element of the page with that id. Throws where the page has none of that kind: page and code are of one version. */
export function byId<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id)
  if (found instanceof kind) return found
  throw new Error(`the page has no ${kind.name} #${id}`)
}

/** Builds an element; text stays text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/** A button that does something. */
export function button(
  attributes: Readonly<Record<string, string>>,
  text: string | Node[],
  onClick: (event: MouseEvent) => void,
): HTMLButtonElement {
  const made = make('button', { type: 'button', ...attributes }, ...(typeof text === 'string' ? [text] : text))
  made.addEventListener('click', onClick)
  return made
}

/** The chosen value of a group of radio buttons. */
export function chosenIn<T extends string>(group: HTMLElement): T {
  return (group.querySelector('input:checked') as HTMLInputElement).value as T
}

export function choose(group: HTMLElement, value: string): void {
  for (const input of group.querySelectorAll('input')) input.checked = input.value === value
}

/** A `blob:` address as styles name it. */
export function cssUrl(url: string): string {
  return `url("${url}")`
}
