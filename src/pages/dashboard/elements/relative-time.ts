import { el } from '../../dom.js'
import { ago, timeOfDay, until } from '../../format.js'
import { fill } from './live-update.js'

/** The gateway's time, extrapolated from its latest overview. Milliseconds since 1970. */
export class ServerClock {
  #offset = Date.now() - performance.now()

  sync(at: number): void {
    this.#offset = at - performance.now()
  }

  now(): number {
    return performance.now() + this.#offset
  }
}

type Direction = 'ago' | 'until'

/** Creates a time shown relative to now. `startRelativeTimes` keeps it up to date. */
export function relativeTime(at: string, direction: Direction, now: number): HTMLTimeElement {
  const attributes = { datetime: at, title: timeOfDay(at), 'data-relative': direction }
  return el('time', attributes, text(Date.parse(at), direction, now))
}

/** Updates every relative time on the page once a second, then calls `onTick`. */
export function startRelativeTimes(clock: ServerClock, onTick: () => void): void {
  setInterval(() => {
    for (const element of document.querySelectorAll<HTMLTimeElement>('time[data-relative]'))
      fill(element, text(Date.parse(element.dateTime), element.dataset.relative as Direction, clock.now()))
    onTick()
  }, 1_000)
}

function text(at: number, direction: Direction, now: number): string {
  return direction === 'ago' ? ago(now - at) : until(at - now)
}
