import { byId } from '../../dom.js'
import type { Viewer } from '../image/viewer.js'
import { addResult, type Result, unusedUrls, urlsOf } from './history.js'
import { showHistory } from './history-strip.js'
import { showResult } from './result-panel.js'

/** The results of this session. Revokes the `blob:` URLs of dropped ones. */
export class Results {
  readonly #viewer: Viewer
  readonly #onChoose: (result: Result) => void
  #history: readonly Result[] = []
  #shown: Result | undefined

  constructor(viewer: Viewer, onChoose: (result: Result) => void) {
    this.#viewer = viewer
    this.#onChoose = onChoose
  }

  get shown(): Result | undefined {
    return this.#shown
  }

  add(result: Result): void {
    const before = urlsOf(this.#history)
    this.#history = addResult(this.#history, result)
    this.show(result)
    for (const url of unusedUrls(before, urlsOf(this.#history))) URL.revokeObjectURL(url)
  }

  show(result: Result | undefined): void {
    this.#shown = result
    this.#viewer.showResult(result)
    showResult(result)
    showHistory(this.#history, result, this.#onChoose)
  }

  /** Marks the shown result as belonging to the current selection or to a previous one. */
  markCurrent(isCurrent: boolean): void {
    byId('result-title').textContent = isCurrent ? 'Result' : 'Previous result'
  }

  usesUrl(url: string): boolean {
    return urlsOf(this.#history).includes(url)
  }
}
