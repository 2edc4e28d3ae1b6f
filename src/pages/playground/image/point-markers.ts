import { button } from '../../dom.js'
import { arrowStep, clampToImage, type Pixel, percentOf, pixelAt, type Size } from './geometry.js'
import type { Point } from './points.js'

export interface PointActions {
  add(at: Pixel, isExcluded: boolean): void
  move(id: number, to: Pixel, gesture: string): void
  toggle(id: number): void
  remove(id: number): void
}

const ARROWS: Readonly<Record<string, readonly [x: number, y: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
}
const SHIFT_FACTOR = 10

/** Describes a point for screen readers. */
export function describePoint({ kind, x, y }: Point, index: number): string {
  return `Point ${index + 1}, ${kind}, x ${x}, y ${y}`
}

/** Shows points on an image. Handles mouse, touch and keyboard. */
export class PointMarkers {
  readonly #layer: HTMLElement
  readonly #actions: PointActions
  readonly #markers = new Map<number, HTMLButtonElement>()
  #points: readonly Point[] = []
  #size: Size = { width: 1, height: 1 }
  #drags = 0

  constructor(surface: HTMLElement, layer: HTMLElement, actions: PointActions) {
    this.#layer = layer
    this.#actions = actions
    surface.addEventListener('click', event => this.#handleClick(event, event.shiftKey))
    surface.addEventListener('contextmenu', event => {
      event.preventDefault()
      this.#handleClick(event, true)
    })
  }

  /** Reuses the markers of remaining points, which keeps the focus while they move. */
  show(points: readonly Point[], size: Size): void {
    this.#points = points
    this.#size = size
    const ids = new Set(points.map(({ id }) => id))
    for (const [id, marker] of this.#markers) {
      if (ids.has(id)) continue
      marker.remove()
      this.#markers.delete(id)
    }
    for (const [index, point] of points.entries()) this.#place(point, index)
  }

  focus(id: number | undefined): void {
    if (id !== undefined) this.#markers.get(id)?.focus()
  }

  #place(point: Point, index: number): void {
    const marker = this.#markers.get(point.id) ?? this.#create(point.id)
    const { x, y } = percentOf(point, this.#size)
    marker.style.left = `${x}%`
    marker.style.top = `${y}%`
    marker.className = `marker ${point.kind}`
    marker.textContent = point.kind === 'include' ? '+' : '−'
    marker.ariaLabel = describePoint(point, index)
  }

  #create(id: number): HTMLButtonElement {
    const marker = button('', { 'aria-describedby': 'viewer-hint' }, event => {
      // Enter and Space have detail 0. A mouse click only selects the marker for dragging.
      if (event.detail === 0) this.#actions.toggle(id)
    })
    marker.addEventListener('keydown', event => this.#handleKey(event, id))
    marker.addEventListener('pointerdown', event => this.#startDrag(event, marker, id))
    this.#markers.set(id, marker)
    this.#layer.append(marker)
    return marker
  }

  #handleClick(event: MouseEvent, isExcluded: boolean): void {
    const [id] = [...this.#markers].find(([, marker]) => marker === event.target) ?? []
    if (id === undefined) this.#actions.add(this.#pixelAt(event), isExcluded)
    else if (event.type === 'contextmenu') this.#actions.remove(id)
  }

  #handleKey(event: KeyboardEvent, id: number): void {
    const point = this.#points.find(point => point.id === id)
    const arrow = ARROWS[event.key]
    if (arrow && point) {
      const step = arrowStep(this.#layer.getBoundingClientRect(), this.#size) * (event.shiftKey ? SHIFT_FACTOR : 1)
      const to = clampToImage({ x: point.x + step * arrow[0], y: point.y + step * arrow[1] }, this.#size)
      this.#actions.move(id, to, `keys ${id}`)
    } else if (event.key === 'Delete' || event.key === 'Backspace') this.#removeFocused(id)
    else return
    event.preventDefault()
  }

  /** Removes a point and focuses its neighbour. */
  #removeFocused(id: number): void {
    const index = this.#points.findIndex(point => point.id === id)
    const neighbour = this.#points[index + 1] ?? this.#points[index - 1]
    this.#actions.remove(id)
    this.focus(neighbour?.id)
  }

  #startDrag(event: PointerEvent, marker: HTMLButtonElement, id: number): void {
    if (event.button !== 0) return
    const gesture = `drag ${++this.#drags}`
    const move = (moved: PointerEvent) => this.#actions.move(id, this.#pixelAt(moved), gesture)
    marker.setPointerCapture(event.pointerId)
    marker.addEventListener('pointermove', move)
    marker.addEventListener('lostpointercapture', () => marker.removeEventListener('pointermove', move), { once: true })
  }

  #pixelAt(event: MouseEvent): Pixel {
    return pixelAt(event, this.#layer.getBoundingClientRect(), this.#size)
  }
}
