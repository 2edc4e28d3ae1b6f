interface Joined<T, L> {
  role: 'leader' | 'follower'
  leader: L
  outcome: Promise<T>
}

/**
 * Runs identical work in flight only once (single flight): the first caller leads, the others
 * follow.
 *
 * 1. `join` looks up and registers a flight in one synchronous step, so two callers can never both
 *    lead.
 * 2. A flight is removed before its promise settles. A caller that joins after that leads a new
 *    flight, and must look into the cache again before it works (see `segment/flight.ts`).
 * 3. A flight runs to its end even if no caller waits for it; `idle` resolves when all flights have
 *    ended.
 */
export class Coalescer<T, L = string> {
  readonly #byName = new Map<string, { leader: L; outcome: Promise<T> }>()
  readonly #all = new Set<Promise<T>>()

  join(name: string, leader: L, lead: () => Promise<T>): Joined<T, L> {
    const flight = this.#byName.get(name)
    if (flight) return { role: 'follower', ...flight }
    const outcome = this.alone(async () => {
      try {
        return await lead()
      } finally {
        this.#byName.delete(name)
      }
    })
    this.#byName.set(name, { leader, outcome })
    return { role: 'leader', leader, outcome }
  }

  lead(name: string, leader: L, lead: () => Promise<T>): Promise<T> {
    return this.#byName.has(name) ? this.alone(lead) : this.join(name, leader, lead).outcome
  }

  alone(lead: () => Promise<T>): Promise<T> {
    // In a later microtask, so that `lead` never runs before `join` has registered the flight.
    const outcome = Promise.resolve().then(lead)
    this.#all.add(outcome)
    const forget = () => this.#all.delete(outcome)
    outcome.then(forget, forget)
    return outcome
  }

  leaderOf(name: string): L | undefined {
    return this.#byName.get(name)?.leader
  }

  /** Number of flights. */
  get size(): number {
    return this.#all.size
  }

  /**
   * Resolves when no flight is left, however long that takes. A follower of a failed flight may
   * start another.
   */
  async idle(): Promise<void> {
    while (this.#all.size > 0) {
      await Promise.allSettled(this.#all)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
}
