import { byId, chosenIn, cssUrl } from './dom.js'
import { isSameShape, type Size } from './geometry.js'
import type { Answered, Picture } from './history.js'
import { Marks, type PointActions } from './marks.js'
import type { MarkedPoint } from './points.js'

/** The picture, the points on it, and the result over it or beside it. */
export class Stage {
  readonly #marks: Marks
  readonly #surface = byId('surface', HTMLElement)
  readonly #photo = byId('photo', HTMLImageElement)
  readonly #layer = byId('layer', HTMLElement)
  readonly #beside = byId('beside', HTMLElement)
  readonly #result = byId('result', HTMLImageElement)
  readonly #layout = byId('layout', HTMLElement)
  readonly #opacity = byId('opacity', HTMLInputElement)
  #answered: Answered | undefined
  #isFitting = true

  constructor(actions: PointActions) {
    this.#marks = new Marks(this.#surface, byId('marks', HTMLElement), actions)
    this.#layout.addEventListener('change', () => this.#arrange())
    this.#opacity.addEventListener('input', () => this.#arrange())
    this.#result.addEventListener('load', () => this.#arrange())
  }

  showPicture({ url, name, size }: Picture): void {
    byId('empty', HTMLElement).hidden = true
    byId('work', HTMLElement).hidden = false
    this.#photo.src = url
    this.#photo.alt = name
    setRatio(this.#surface, size)
  }

  /** `isUsed` is false beside a prompt. */
  showPoints(points: readonly MarkedPoint[], size: Size, isUsed: boolean): void {
    this.#marks.show(points, size)
    byId('marks', HTMLElement).classList.toggle('unused', !isUsed)
  }

  focusPoint(id: number | undefined): void {
    this.#marks.focus(id)
  }

  showResult(answered: Answered | undefined): void {
    this.#answered = answered
    if (answered) {
      this.#result.alt = `${answered.output} of ${answered.picture.name}`
      this.#result.src = answered.url
    } else {
      this.#result.removeAttribute('src')
    }
    this.#arrange()
  }

  /** Also once the result's own size is known: what has another shape cannot lie on the picture. */
  #arrange(): void {
    const answered = this.#answered
    const { naturalWidth: width, naturalHeight: height } = this.#result
    const isKnown = this.#result.complete && width > 0
    this.#isFitting = !answered || !isKnown || isSameShape({ width, height }, answered.picture.size)
    const isOver = this.#isFitting && chosenIn(this.#layout) === 'over'
    byId('shape-hint', HTMLElement).hidden = this.#isFitting
    this.#beside.hidden = !answered || isOver
    byId('panes', HTMLElement).classList.toggle('two', !this.#beside.hidden)
    if (answered)
      setRatio(this.#result.parentElement as HTMLElement, isKnown ? { width, height } : answered.picture.size)
    this.#layOver(isOver ? answered : undefined)
  }

  /** At full opacity only the result is seen, at none only the picture. Of a cutout the picture itself fades: the selection is the same. */
  #layOver(answered: Answered | undefined): void {
    const share = Number(this.#opacity.value) / 100
    const isCutout = answered?.output === 'cutout'
    this.#opacity.disabled = !answered
    this.#layer.hidden = !answered
    this.#layer.classList.toggle('tint', answered?.output === 'mask')
    this.#layer.style.setProperty('--result', answered ? cssUrl(answered.url) : 'none')
    this.#layer.style.opacity = isCutout ? '1' : String(share)
    this.#photo.style.opacity = isCutout ? String(1 - share) : '1'
    this.#surface.classList.toggle('faded', isCutout)
  }
}

function setRatio(element: HTMLElement, { width, height }: Size): void {
  element.style.setProperty('--ratio', String(width / height))
}
