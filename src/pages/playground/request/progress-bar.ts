import type { Progress } from '../../../client/index.js'
import { byId } from '../../dom.js'
import { progressText } from '../wording.js'

const TICK_MS = 100

/** Shows the progress and the elapsed time of the running tasks. */
export class ProgressBar {
  readonly #box = byId('progress')
  readonly #bar = byId('progress-bar', HTMLProgressElement)
  readonly #text = byId('progress-text')
  readonly #time = byId('progress-time')
  #timer: ReturnType<typeof setInterval> | undefined

  /** Starts from zero. `waitingNote` is shown while the share is unknown. */
  start(waitingNote: string): (progress: Progress) => void {
    this.end()
    const startedAt = performance.now()
    const tick = () => {
      this.#time.textContent = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
    }
    this.#timer = setInterval(tick, TICK_MS)
    tick()
    this.#box.hidden = false
    const show = (progress: Progress) => {
      const { text, share } = progressText(progress)
      this.#text.textContent = share === undefined && waitingNote !== '' ? `${text}, ${waitingNote}` : text
      if (share === undefined) this.#bar.removeAttribute('value')
      else this.#bar.value = share
    }
    show({ phase: 'requesting' })
    return show
  }

  end(): void {
    clearInterval(this.#timer)
    this.#box.hidden = true
    this.#text.textContent = ''
  }
}
