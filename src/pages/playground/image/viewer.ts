import { byId } from '../../dom.js'
import { hasSameRatio, type Size } from './geometry.js'
import type { LoadedImage } from './loaded-image.js'
import { type PointActions, PointMarkers } from './point-markers.js'
import type { Point } from './points.js'

/** A result to show on its image or beside it. */
export interface ViewedResult {
  image: LoadedImage
  output: 'overlay' | 'mask' | 'cutout'
  url: string
}

/** Shows the image, the points on it and the result. */
export class Viewer {
  readonly #markers: PointMarkers
  readonly #markerLayer = byId('markers')
  readonly #surface = byId('surface')
  readonly #photo = byId('photo', HTMLImageElement)
  readonly #layer = byId('layer')
  readonly #beside = byId('beside')
  readonly #picture = byId('result-image', HTMLImageElement)
  readonly #opacity = byId('opacity', HTMLInputElement)
  #result: ViewedResult | undefined

  constructor(actions: PointActions) {
    this.#markers = new PointMarkers(this.#surface, this.#markerLayer, actions)
    byId('layout').addEventListener('change', () => this.#arrange())
    this.#opacity.addEventListener('input', () => this.#arrange())
    this.#picture.addEventListener('load', () => this.#arrange())
  }

  showImage({ url, name, size }: LoadedImage): void {
    byId('drop-zone').hidden = true
    byId('work').hidden = false
    this.#photo.src = url
    this.#photo.alt = name
    setRatio(this.#surface, size)
  }

  /** Shows points, greyed out while a prompt replaces them. */
  showPoints(points: readonly Point[], size: Size, isUsed: boolean): void {
    this.#markers.show(points, size)
    this.#markerLayer.classList.toggle('unused', !isUsed)
  }

  focusPoint(id: number | undefined): void {
    this.#markers.focus(id)
  }

  showResult(result: ViewedResult | undefined): void {
    this.#result = result
    if (result) {
      this.#picture.alt = `${result.output} of ${result.image.name}`
      this.#picture.src = result.url
    } else {
      this.#picture.removeAttribute('src')
    }
    this.#arrange()
  }

  /** Places the result. One of another aspect ratio does not fit on the image. */
  #arrange(): void {
    const result = this.#result
    const { complete, naturalWidth: width, naturalHeight: height } = this.#picture
    const size = complete && width > 0 ? { width, height } : result?.image.size
    const isFitting = !result || !size || hasSameRatio(size, result.image.size)
    const isOver = isFitting && byId('layout-over', HTMLInputElement).checked
    byId('ratio-hint').hidden = isFitting
    this.#beside.hidden = !result || isOver
    byId('panes').classList.toggle('two', !this.#beside.hidden)
    if (size) setRatio(byId('result-surface'), size)
    this.#drawOver(isOver ? result : undefined)
  }

  /**
   * Draws the result over the image: at full opacity only the result is visible, at none only the
   * image. A cutout is opaque where the image shows the same, so there the image fades instead.
   */
  #drawOver(result: ViewedResult | undefined): void {
    const opacity = Number(this.#opacity.value) / 100
    const isCutout = result?.output === 'cutout'
    this.#opacity.disabled = !result
    this.#layer.hidden = !result
    this.#layer.classList.toggle('tint', result?.output === 'mask')
    this.#layer.style.setProperty('--result', result ? cssUrl(result.url) : 'none')
    this.#layer.style.opacity = String(isCutout ? 1 : opacity)
    this.#photo.style.opacity = String(isCutout ? 1 - opacity : 1)
    this.#surface.classList.toggle('faded', isCutout)
  }
}

export function cssUrl(url: string): string {
  return `url("${url}")`
}

function setRatio(element: HTMLElement, { width, height }: Size): void {
  element.style.setProperty('--ratio', String(width / height))
}
