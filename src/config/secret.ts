import { inspect } from 'node:util'

const MASK = '[secret]'

/**
 * A value that logs, JSON and string interpolation show as `[secret]`. `reveal()` returns the text.
 */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  reveal(): string {
    return this.#text
  }

  toJSON(): string {
    return MASK
  }

  toString(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}
