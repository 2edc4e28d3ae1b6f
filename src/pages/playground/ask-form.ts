import { button, byId, choose, chosenIn, make } from './dom.js'
import { nameOf } from './marks.js'
import type { Mark, MarkedPoint, PointList } from './points.js'
import type { Output, Question } from './question.js'
import type { Words } from './wording.js'

/** What people do in the form. */
export interface AskActions {
  ask(): void
  abort(): void
  undo(): void
  clear(): void
  addInTheMiddle(): void
  drop(id: number): void
  /** Another prompt, or another form of answer. */
  changed(): void
}

/** What is asked: words or points, and the form of the answer; what it would cost; the way to begin and to end it. */
export class AskForm {
  readonly #prompt = byId('prompt', HTMLInputElement)
  readonly #output = byId('output', HTMLElement)
  readonly #segment = byId('segment', HTMLButtonElement)
  readonly #abort = byId('abort', HTMLButtonElement)
  readonly #quote = byId('quote', HTMLElement)
  readonly #actions: AskActions

  constructor(actions: AskActions) {
    this.#actions = actions
    byId('ask', HTMLFormElement).addEventListener('submit', event => {
      event.preventDefault()
      actions.ask()
    })
    this.#prompt.addEventListener('input', () => actions.changed())
    this.#output.addEventListener('change', () => actions.changed())
    const press = {
      undo: actions.undo,
      clear: actions.clear,
      'add-point': actions.addInTheMiddle,
      abort: actions.abort,
    }
    for (const [id, act] of Object.entries(press)) byId(id, HTMLButtonElement).addEventListener('click', () => act())
    document.addEventListener('keydown', event => {
      const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z' && !event.shiftKey
      if (!isUndo || event.target === this.#prompt) return
      event.preventDefault()
      actions.undo()
    })
  }

  get prompt(): string {
    return this.#prompt.value
  }

  get output(): Output {
    return chosenIn(this.#output)
  }

  /** What a plain click does. */
  get mark(): Mark {
    return chosenIn(byId('mode', HTMLElement))
  }

  get asksOnEveryClick(): boolean {
    return byId('every-click', HTMLInputElement).checked
  }

  fill({ prompt, output }: Question): void {
    this.#prompt.value = prompt
    choose(this.#output, output)
  }

  showPoints({ points, past }: PointList, hasPicture: boolean): void {
    byId('undo', HTMLButtonElement).disabled = past.length === 0
    byId('clear', HTMLButtonElement).disabled = points.length === 0
    byId('add-point', HTMLButtonElement).disabled = !hasPicture
    byId('prompt-hint', HTMLElement).hidden = this.prompt.trim() === '' || points.length === 0
    byId('point-list', HTMLElement).replaceChildren(...points.map((point, index) => this.#row(point, index)))
  }

  /** Whoever pressed the one button finds the focus on the other. */
  showReadiness(isReady: boolean, isAsking: boolean, isBusy: boolean): void {
    const focused = document.activeElement
    this.#abort.hidden = !isBusy
    this.#segment.disabled = !isReady || isAsking
    if (isAsking && focused === this.#segment) this.#abort.focus()
    if (!isBusy && focused === this.#abort) this.#segment.focus()
  }

  /** What there is to do before anything can be asked; what asking would cost. */
  say({ tone, text, more }: Words): void {
    const lines = [make('strong', { class: tone }, text)]
    this.#quote.replaceChildren(...lines, ...(more ? [make('span', { class: 'hint' }, more)] : []))
  }

  #row(point: MarkedPoint, index: number): HTMLLIElement {
    const sign = point.mark === 'add' ? '+' : '−'
    const label = { 'aria-label': `Remove ${nameOf(point, index)}` }
    const remove = button(label, '×', () => {
      this.#actions.drop(point.id)
      byId('add-point', HTMLButtonElement).focus()
    })
    return make('li', { class: point.mark === 'add' ? 'good' : 'bad' }, `${sign} ${point.x}, ${point.y}`, remove)
  }
}
