import type { Clock } from '../contracts/clock.js'

export interface ExpiringMapLimits {
  ttlMs: number
  maxEntries: number
  /** Bytes of all entries. Default: no limit. */
  maxBytes?: number
}

interface Entry<Value> {
  value: Value
  bytes: number
  expiresAt: number
}

/**
 * Map whose entries expire by the given clock, without timers. At a limit, it evicts the oldest
 * entries.
 */
export class ExpiringMap<Value> {
  readonly #limits: Required<ExpiringMapLimits>
  readonly #now: Clock
  /** Oldest first. */
  readonly #entries = new Map<string, Entry<Value>>()
  #bytes = 0

  constructor({ ttlMs, maxEntries, maxBytes = Number.POSITIVE_INFINITY }: ExpiringMapLimits, now: Clock) {
    this.#limits = { ttlMs, maxEntries, maxBytes }
    this.#now = now
  }

  /** Adds an entry. Every key may be used only once. */
  set(key: string, value: Value, bytes = 0): void {
    this.#entries.set(key, { value, bytes, expiresAt: this.#now() + this.#limits.ttlMs })
    this.#bytes += bytes
    this.#evict()
  }

  get(key: string): Value | undefined {
    this.#evict()
    return this.#entries.get(key)?.value
  }

  /** Returns all values, the oldest first. */
  values(): Value[] {
    this.#evict()
    return [...this.#entries.values()].map(({ value }) => value)
  }

  #evict(): void {
    for (const [key, { bytes, expiresAt }] of this.#entries) {
      const fits = this.#entries.size <= this.#limits.maxEntries && this.#bytes <= this.#limits.maxBytes
      if (fits && expiresAt > this.#now()) return
      this.#entries.delete(key)
      this.#bytes -= bytes
    }
  }
}
