/** What a shelf holds at most. */
export interface ShelfLimits {
  keepMs: number
  things: number
  /** Of all things together. Default: no limit. */
  bytes?: number
}

interface Placed<Thing> {
  thing: Thing
  bytes: number
  expiresAt: number
}

/** Keeps things for a while, by the clock it is given and without timers. Where there is no room, the oldest go first. */
export class Shelf<Thing> {
  readonly #limits: Required<ShelfLimits>
  readonly #now: () => number
  /** Oldest first. */
  readonly #placed = new Map<string, Placed<Thing>>()
  #bytes = 0

  constructor({ bytes = Number.POSITIVE_INFINITY, ...limits }: ShelfLimits, now: () => number) {
    this.#limits = { ...limits, bytes }
    this.#now = now
  }

  /** Each id is used once. */
  put(id: string, thing: Thing, bytes = 0): void {
    this.#placed.set(id, { thing, bytes, expiresAt: this.#now() + this.#limits.keepMs })
    this.#bytes += bytes
    this.#clear()
  }

  get(id: string): Thing | undefined {
    this.#clear()
    return this.#placed.get(id)?.thing
  }

  #clear(): void {
    for (const [id, { bytes, expiresAt }] of this.#placed) {
      const fits = this.#placed.size <= this.#limits.things && this.#bytes <= this.#limits.bytes
      if (fits && expiresAt > this.#now()) return
      this.#placed.delete(id)
      this.#bytes -= bytes
    }
  }
}
