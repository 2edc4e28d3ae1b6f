import { button } from './dom.js'
import { inside, nudge, percentOf, pixelAt, type Size } from './geometry.js'
import type { MarkedPoint, Place } from './points.js'

/** What people do to points. */
export interface PointActions {
  add(place: Place, isLeftOut: boolean): void
  move(id: number, place: Place, gesture: string): void
  flip(id: number): void
  drop(id: number): void
}

const ARROWS: Readonly<Record<string, readonly [x: number, y: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
}
const FAST = 10

/** How a point is called. */
export function nameOf({ mark, x, y }: MarkedPoint, index: number): string {
  return `Point ${index + 1}, ${mark === 'add' ? 'selects' : 'leaves out'}, x ${x}, y ${y}`
}

/** Points on a picture, for mouse, finger and keyboard. */
export class Marks {
  readonly #layer: HTMLElement
  readonly #actions: PointActions
  readonly #marks = new Map<number, HTMLButtonElement>()
  #points: readonly MarkedPoint[] = []
  #size: Size = { width: 1, height: 1 }
  #drags = 0

  constructor(surface: HTMLElement, layer: HTMLElement, actions: PointActions) {
    this.#layer = layer
    this.#actions = actions
    surface.addEventListener('click', event => this.#clicked(event, event.shiftKey))
    surface.addEventListener('contextmenu', event => {
      event.preventDefault()
      this.#clicked(event, true)
    })
  }

  /** Marks that stay keep the focus, which moving them needs. */
  show(points: readonly MarkedPoint[], size: Size): void {
    this.#points = points
    this.#size = size
    const ids = new Set(points.map(({ id }) => id))
    for (const [id, mark] of this.#marks) {
      if (ids.has(id)) continue
      mark.remove()
      this.#marks.delete(id)
    }
    points.forEach((point, index) => {
      this.#place(point, index)
    })
  }

  focus(id: number | undefined): void {
    if (id !== undefined) this.#marks.get(id)?.focus()
  }

  #place(point: MarkedPoint, index: number): void {
    const mark = this.#marks.get(point.id) ?? this.#make(point.id)
    const { x, y } = percentOf(point, this.#size)
    mark.style.left = `${x}%`
    mark.style.top = `${y}%`
    mark.className = `mark ${point.mark}`
    mark.textContent = point.mark === 'add' ? '+' : '−'
    mark.setAttribute('aria-label', nameOf(point, index))
  }

  #make(id: number): HTMLButtonElement {
    const mark = button({ 'aria-describedby': 'stage-hint' }, '', event => {
      // Enter and Space; a mouse only takes hold of it.
      if (event.detail === 0) this.#actions.flip(id)
    })
    mark.addEventListener('keydown', event => this.#pressed(event, id))
    mark.addEventListener('pointerdown', event => this.#dragged(event, mark, id))
    this.#marks.set(id, mark)
    this.#layer.append(mark)
    return mark
  }

  #clicked(event: MouseEvent, isLeftOut: boolean): void {
    const { target } = event
    const mark = [...this.#marks].find(([, mark]) => mark === target)
    if (!mark) this.#actions.add(this.#pixelAt(event), isLeftOut)
    else if (event.type === 'contextmenu') this.#actions.drop(mark[0])
  }

  #pressed(event: KeyboardEvent, id: number): void {
    const point = this.#points.find(point => point.id === id)
    const arrow = ARROWS[event.key]
    if (arrow && point) {
      const step = nudge(this.#layer.getBoundingClientRect(), this.#size) * (event.shiftKey ? FAST : 1)
      const place = inside({ x: point.x + step * arrow[0], y: point.y + step * arrow[1] }, this.#size)
      this.#actions.move(id, place, `keys ${id}`)
    } else if (event.key === 'Delete' || event.key === 'Backspace') this.#dropFocused(id)
    else return
    event.preventDefault()
  }

  /** The focus goes to the neighbour, not to nowhere. */
  #dropFocused(id: number): void {
    const index = this.#points.findIndex(point => point.id === id)
    const neighbour = this.#points[index + 1] ?? this.#points[index - 1]
    this.#actions.drop(id)
    this.focus(neighbour?.id)
  }

  #dragged(event: PointerEvent, mark: HTMLButtonElement, id: number): void {
    if (event.button !== 0) return
    const gesture = `drag ${++this.#drags}`
    const move = (moved: PointerEvent) => this.#actions.move(id, this.#pixelAt(moved), gesture)
    mark.setPointerCapture(event.pointerId)
    mark.addEventListener('pointermove', move)
    mark.addEventListener('lostpointercapture', () => mark.removeEventListener('pointermove', move), { once: true })
  }

  #pixelAt(event: MouseEvent): Place {
    return pixelAt(event, this.#layer.getBoundingClientRect(), this.#size)
  }
}
