import { button, byId, el } from '../../dom.js'
import { describePoint } from '../image/point-markers.js'
import type { Point, PointKind, PointList } from '../image/points.js'
import type { Message } from '../wording.js'
import type { Output, SelectionInput } from './selection.js'

export interface FormActions {
  segment(): void
  cancel(): void
  undo(): void
  clear(): void
  /** Adds a point at the centre, for keyboard users. */
  addPoint(): void
  removePoint(id: number): void
  /** The prompt or the output changed. */
  change(): void
}

/** The form for prompt, points and output, with the quote and the buttons to start and cancel. */
export class RequestForm {
  readonly #prompt = byId('prompt', HTMLInputElement)
  readonly #output = byId('output')
  readonly #segment = byId('segment', HTMLButtonElement)
  readonly #cancel = byId('cancel', HTMLButtonElement)
  readonly #actions: FormActions

  constructor(actions: FormActions) {
    this.#actions = actions
    byId('request').addEventListener('submit', event => {
      event.preventDefault()
      actions.segment()
    })
    this.#prompt.addEventListener('input', () => actions.change())
    this.#output.addEventListener('change', () => actions.change())
    byId('undo').addEventListener('click', () => actions.undo())
    byId('clear').addEventListener('click', () => actions.clear())
    byId('add-point').addEventListener('click', () => actions.addPoint())
    this.#cancel.addEventListener('click', () => actions.cancel())
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
    return checkedValue(this.#output)
  }

  /** Returns the kind of point that a plain click adds. */
  get pointKind(): PointKind {
    return checkedValue(byId('point-kind'))
  }

  get segmentsOnEveryClick(): boolean {
    return byId('every-click', HTMLInputElement).checked
  }

  fill({ prompt, output }: SelectionInput): void {
    this.#prompt.value = prompt
    for (const input of this.#output.querySelectorAll('input')) input.checked = input.value === output
  }

  showPoints({ points, past }: PointList, hasImage: boolean): void {
    byId('undo', HTMLButtonElement).disabled = past.length === 0
    byId('clear', HTMLButtonElement).disabled = points.length === 0
    byId('add-point', HTMLButtonElement).disabled = !hasImage
    byId('prompt-hint').hidden = this.prompt.trim() === '' || points.length === 0
    byId('point-list').replaceChildren(...points.map((point, index) => this.#pointItem(point, index)))
  }

  /** Enables the buttons. The focus moves between Segment and Cancel, whichever is usable. */
  showReadiness(isReady: boolean, isSegmenting: boolean, isBusy: boolean): void {
    const focused = document.activeElement
    this.#cancel.hidden = !isBusy
    this.#segment.disabled = !isReady || isSegmenting
    if (isSegmenting && focused === this.#segment) this.#cancel.focus()
    if (!isBusy && focused === this.#cancel) this.#segment.focus()
  }

  /** Shows the next step, the quote or the outcome. */
  showMessage({ tone, text, more }: Message): void {
    byId('quote').replaceChildren(el(`strong.${tone}`, text), ...(more ? [el('span.quiet', more)] : []))
  }

  #pointItem(point: Point, index: number): HTMLLIElement {
    const remove = button('×', { 'aria-label': `Remove ${describePoint(point, index)}` }, () => {
      this.#actions.removePoint(point.id)
      byId('add-point').focus()
    })
    const isIncluded = point.kind === 'include'
    return el(`li.${isIncluded ? 'good' : 'bad'}`, `${isIncluded ? '+' : '−'} ${point.x}, ${point.y}`, remove)
  }
}

/** Returns the value of the checked radio button in a group. */
export function checkedValue<T extends string>(group: HTMLElement): T {
  return (group.querySelector('input:checked') as HTMLInputElement).value as T
}
