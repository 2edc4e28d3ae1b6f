interface Joined<T> {
  role: 'leader' | 'follower'
  leader: string
  landed: Promise<T>
}

/**
 * Lets identical work in flight be done once (single flight): the first to ask leads, the others follow.
 *
 * 1. `join` looks and registers in one synchronous step, so two callers can never both lead.
 * 2. The flight is taken out before its promise settles for anybody: whoever asks after that leads a new one,
 *    and must look at the cache again before working (see `segment/pipeline.ts`).
 * 3. Work goes on when everybody has stopped waiting; `idle` tells when all of it has ended.
 */
export class Coalescer<T> {
  readonly #named = new Map<string, { leader: string; landed: Promise<T> }>()
  readonly #all = new Set<Promise<T>>()

  join(name: string, leader: string, lead: () => Promise<T>): Joined<T> {
    const flying = this.#named.get(name)
    if (flying) return { role: 'follower', ...flying }
    const landed = this.alone(async () => {
      try {
        return await lead()
      } finally {
        this.#named.delete(name)
      }
    })
    this.#named.set(name, { leader, landed })
    return { role: 'leader', leader, landed }
  }

  lead(name: string, leader: string, lead: () => Promise<T>): Promise<T> {
    return this.#named.has(name) ? this.alone(lead) : this.join(name, leader, lead).landed
  }

  alone(lead: () => Promise<T>): Promise<T> {
    // A tick later, so that `lead` never runs before `join` has registered the flight.
    const landed = Promise.resolve().then(lead)
    this.#all.add(landed)
    const forget = () => this.#all.delete(landed)
    landed.then(forget, forget)
    return landed
  }

  leaderOf(name: string): string | undefined {
    return this.#named.get(name)?.leader
  }

  /** Flights under way. */
  get size(): number {
    return this.#all.size
  }

  /** Resolves when nothing is under way, however long that takes. Who followed a flight that failed may lead one right after it. */
  async idle(): Promise<void> {
    while (this.#all.size > 0) {
      await Promise.allSettled(this.#all)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
}
