import { byId, chosenIn } from './dom.js'
import type { Picture } from './history.js'
import { fileNameOf, type Output, type Question, selectionOf } from './question.js'
import { type Asked, type Language, snippetOf } from './snippets.js'

const MAX_ROWS = 18
/** What an answer is saved as before its type is known. */
const TYPES: Readonly<Record<Output, string>> = { mask: 'image/jpeg', cutout: 'image/png', overlay: 'image/jpeg' }

/** The question as a program, to be copied. */
export class CopyPanel {
  readonly #snippet = byId('snippet', HTMLTextAreaElement)
  readonly #copied = byId('copied', HTMLElement)
  readonly #language = byId('language', HTMLElement)
  #asked: Asked | undefined

  constructor() {
    this.#language.addEventListener('change', () => this.#write())
    byId('copy-button', HTMLButtonElement).addEventListener('click', async () => {
      this.#copied.textContent = (await copy(this.#snippet)) ? 'Copied' : 'Press Ctrl+C: it is selected'
    })
  }

  show(question: Question, picture: Picture | undefined): void {
    const selection = selectionOf(question)
    byId('copy', HTMLElement).hidden = !selection || !picture
    if (!selection || !picture) return
    const savedAs = fileNameOf(picture.name, question.output, TYPES[question.output])
    this.#asked = { url: location.origin, fileName: picture.name, selection, savedAs }
    this.#write()
  }

  #write(): void {
    if (!this.#asked) return
    this.#snippet.value = snippetOf(chosenIn<Language>(this.#language), this.#asked)
    this.#snippet.rows = Math.min(MAX_ROWS, this.#snippet.value.split('\n').length + 1)
    this.#copied.textContent = ''
  }
}

/** A page without https may not write to the clipboard: the text is selected then. */
async function copy(element: HTMLTextAreaElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(element.value)
    return true
  } catch {
    element.select()
    return false
  }
}
