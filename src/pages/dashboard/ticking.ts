import { el, setText } from './element.js'
import { age, ahead, clock } from './format.js'

/** The time at the gateway, as its last word and the time since have it: the clock of this computer may be wrong. Milliseconds since 1970. */
export class ServerClock {
  #offset = Date.now() - performance.now()

  heard(at: number): void {
    this.#offset = at - performance.now()
  }

  now(): number {
    return performance.now() + this.#offset
  }
}

type Tick = 'age' | 'ahead'

/** A time whose age is counted on. */
export function ticking(at: string, how: Tick, now: number): HTMLTimeElement {
  return el('time', { datetime: at, title: clock(at), 'data-tick': how }, worded(Date.parse(at), how, now))
}

/** Counts every age on the page on, once a second. */
export function startTicking(clock: ServerClock, also: () => void): void {
  setInterval(() => {
    for (const element of document.querySelectorAll<HTMLTimeElement>('time[data-tick]')) {
      setText(element, worded(Date.parse(element.dateTime), element.dataset.tick as Tick, clock.now()))
    }
    also()
  }, 1_000)
}

function worded(at: number, how: Tick, now: number): string {
  return how === 'age' ? age(now - at) : ahead(at - now)
}
