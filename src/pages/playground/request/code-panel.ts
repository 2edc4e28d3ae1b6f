import { byId } from '../../dom.js'
import type { LoadedImage } from '../image/loaded-image.js'
import { checkedValue } from './request-form.js'
import { fileNameOf, type Output, type SelectionInput, selectionOf } from './selection.js'
import { type Language, type SnippetInput, snippetOf } from './snippets.js'

const MAX_ROWS = 18
/** Content types to name the saved file by before there is a result. */
const TYPES: Readonly<Record<Output, string>> = { mask: 'image/jpeg', cutout: 'image/png', overlay: 'image/jpeg' }

/** Shows the current request as code to copy. */
export class CodePanel {
  readonly #snippet = byId('snippet', HTMLTextAreaElement)
  readonly #copied = byId('copied')
  readonly #language = byId('language')
  #input: SnippetInput | undefined

  constructor() {
    this.#language.addEventListener('change', () => this.#write())
    byId('copy-button').addEventListener('click', async () => {
      this.#copied.textContent = (await copy(this.#snippet)) ? 'Copied' : 'Selected. Press Ctrl+C to copy.'
    })
  }

  show(input: SelectionInput, image: LoadedImage | undefined): void {
    const selection = selectionOf(input)
    byId('code').hidden = !selection || !image
    if (!selection || !image) return
    const savedAs = fileNameOf(image.name, input.output, TYPES[input.output])
    this.#input = { url: location.origin, fileName: image.name, selection, savedAs }
    this.#write()
  }

  #write(): void {
    if (!this.#input) return
    this.#snippet.value = snippetOf(checkedValue<Language>(this.#language), this.#input)
    this.#snippet.rows = Math.min(MAX_ROWS, this.#snippet.value.split('\n').length + 1)
    this.#copied.textContent = ''
  }
}

/** Copies a text. Selects it and returns false if the browser forbids that (no https). */
async function copy(element: HTMLTextAreaElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(element.value)
    return true
  } catch {
    element.select()
    return false
  }
}
