import type { Progress } from '../../client/index.js'
import { byId } from './dom.js'
import { sayProgress } from './wording.js'

const TICK_MS = 100

/** How far something is that takes its time. */
export class ProgressBar {
  readonly #box = byId('progress', HTMLElement)
  readonly #bar = byId('progress-bar', HTMLProgressElement)
  readonly #text = byId('progress-text', HTMLElement)
  readonly #time = byId('progress-time', HTMLElement)
  #timer: ReturnType<typeof setInterval> | undefined

  /** `aside` is said while nothing but waiting is left. */
  begin(aside = ''): (progress: Progress) => void {
    this.end()
    const began = performance.now()
    const tick = () => {
      this.#time.textContent = `${((performance.now() - began) / 1000).toFixed(1)} s`
    }
    this.#timer = setInterval(tick, TICK_MS)
    tick()
    this.#box.hidden = false
    const show = (progress: Progress) => {
      const { text, share } = sayProgress(progress)
      this.#text.textContent = share === undefined && aside !== '' ? `${text}. ${aside}` : text
      if (share === undefined) this.#bar.removeAttribute('value')
      else this.#bar.value = share
    }
    show({ phase: 'asking' })
    return show
  }

  end(): void {
    clearInterval(this.#timer)
    this.#box.hidden = true
    this.#text.textContent = ''
  }
}
