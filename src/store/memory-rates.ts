import type { Clock } from '../contracts/clock.js'
import type { RateCounts } from '../contracts/store.js'

interface Window {
  count: number
  endsAt: number
}

/** Bound of the windows of one kind. The oldest is dropped for a new one beyond it. */
const MAX_WINDOWS = 5_000

/**
 * Creates counts that only this process shares. A name begins with its kind and a colon. Windows of
 * one kind never displace those of another: many addresses with wrong keys reset no team's count.
 */
export function createMemoryRates(now: Clock = Date.now): RateCounts {
  const kinds = new Map<string, Map<string, Window>>()
  const windowsOf = (kind: string): Map<string, Window> => {
    const known = kinds.get(kind)
    if (known) return known
    const windows = new Map<string, Window>()
    kinds.set(kind, windows)
    return windows
  }
  return {
    take(name, amount, { max, windowMs }) {
      const nowMs = now()
      const windows = windowsOf(name.slice(0, name.indexOf(':')))
      const found = windows.get(name)
      const isOpen = found !== undefined && found.endsAt > nowMs
      const window = isOpen ? found : { count: 0, endsAt: nowMs + windowMs }
      const sum = window.count + amount
      if (amount > 0 && sum <= max) {
        window.count = sum
        if (!isOpen) add(windows, name, window)
      }
      return { sum, endsInMs: window.endsAt - nowMs }
    },
  }
}

/** Adds a window to the end: a map keeps its order, even for a name that it has. */
function add(windows: Map<string, Window>, name: string, window: Window): void {
  windows.delete(name)
  windows.set(name, window)
  if (windows.size > MAX_WINDOWS) windows.delete(windows.keys().next().value as string)
}
