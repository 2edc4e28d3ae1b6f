import { showAnswer } from './answer-panel.js'
import { byId } from './dom.js'
import { type Answered, noLongerNeeded, remember, urlsOf } from './history.js'
import { showHistory } from './history-strip.js'
import type { Stage } from './stage.js'

/** The answers of this session and the one that is shown; gives back the memory of those that are forgotten. */
export class Answers {
  readonly #stage: Stage
  readonly #onChoose: (entry: Answered) => void
  #history: readonly Answered[] = []
  #shown: Answered | undefined

  constructor(stage: Stage, onChoose: (entry: Answered) => void) {
    this.#stage = stage
    this.#onChoose = onChoose
  }

  get shown(): Answered | undefined {
    return this.#shown
  }

  add(entry: Answered): void {
    const before = urlsOf(this.#history)
    this.#history = remember(this.#history, entry)
    this.show(entry)
    for (const url of noLongerNeeded(before, urlsOf(this.#history))) URL.revokeObjectURL(url)
  }

  show(entry: Answered | undefined): void {
    this.#shown = entry
    this.#stage.showResult(entry)
    showAnswer(entry)
    showHistory(this.#history, entry, this.#onChoose)
  }

  /** Whether what is shown answers what is asked now. */
  markCurrent(isCurrent: boolean): void {
    byId('answer-title', HTMLElement).textContent = isCurrent ? 'Answer' : 'The answer before'
  }

  /** Whether an answer needs the address of a picture. */
  needs(url: string): boolean {
    return urlsOf(this.#history).includes(url)
  }
}
