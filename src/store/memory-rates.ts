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
  return {
    async take(name, amount, { max, windowMs }) {
      const nowMs = now()
      const kind = name.slice(0, name.indexOf(':'))
      const windows = kinds.get(kind) ?? new Map<string, Window>()
      kinds.set(kind, windows)
      const found = windows.get(name)
      const isOpen = found !== undefined && found.endsAt > nowMs
      const { count, endsAt } = isOpen ? found : { count: 0, endsAt: nowMs + windowMs }
      const sum = count + amount
      if (amount > 0 && sum <= max) {
        // A map keeps its order, so a new window goes to the end.
        if (!isOpen) windows.delete(name)
        windows.set(name, { count: sum, endsAt })
        if (windows.size > MAX_WINDOWS) windows.delete(windows.keys().next().value as string)
      }
      return { sum, endsInMs: endsAt - nowMs }
    },
  }
}
