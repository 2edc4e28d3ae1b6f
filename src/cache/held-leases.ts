import type { Landing } from '../segment/ports.js'
import type { LeaseClaim, LeaseStore } from '../storage.js'
import { writeLanding } from './landing.js'

export interface HeldLeasesOptions {
  store: LeaseStore
  /** How often the holders say that they live, milliseconds. */
  beatMs: number
  /** Told when the store has answered. */
  onAnswer(): void
  onStoreFailure(error: unknown, doing: string): void
  /** Told when another process has taken over a flight that is still under way here: this process was not heard of for too long. */
  onTakenAway(claim: LeaseClaim): void
}

/** How long followers find what a flight ended with: a result is found in the store anyway, an error only here. */
const KEEP_MS = { result: 10_000, error: 60_000, openJob: 3_600_000 }

/** The leases this process holds: it beats for all of them, takes back what an emptied store has lost, and lands them one by one. */
export class HeldLeases {
  readonly #options: HeldLeasesOptions
  readonly #held = new Map<string, { claim: LeaseClaim; landing?: Landing }>()
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> | undefined

  constructor(options: HeldLeasesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#held.size
  }

  add(claim: LeaseClaim): void {
    this.#held.set(claim.token, { claim })
    this.#timer ??= setInterval(() => void this.beat(), this.#options.beatMs).unref()
  }

  /** Ends a flight. Until the store has taken that down the lease stays held, and is landed again with every beat. */
  async land(claim: LeaseClaim, landing: Landing): Promise<void> {
    const held = this.#held.get(claim.token)
    if (!held) return
    held.landing = landing
    await this.#tryToLand(claim, landing)
  }

  /** Beats once for all, and lands what could not be landed. Never rejects. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined
    })
    return this.#beating
  }

  /** Lands what it can; the rest is left to those who follow, who take over when they hear nothing more. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.beat()
    this.#held.clear()
  }

  async #beat(): Promise<void> {
    if (this.#held.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    const held = [...this.#held.values()]
    // Not for those that are landing: a beat that overtakes nothing but arrives after the landing would take the name back.
    await this.#beatFor(held.filter(({ landing }) => !landing).map(({ claim }) => claim))
    for (const { claim, landing } of held)
      if (landing && this.#held.has(claim.token)) await this.#tryToLand(claim, landing)
  }

  async #beatFor(claims: LeaseClaim[]): Promise<void> {
    if (claims.length === 0) return
    try {
      const isHeld = await this.#options.store.beat(claims)
      this.#options.onAnswer()
      for (const [index, claim] of claims.entries()) if (!isHeld[index]) this.#takenAway(claim)
    } catch (error) {
      this.#options.onStoreFailure(error, 'leases: beat')
    }
  }

  async #tryToLand(claim: LeaseClaim, landing: Landing): Promise<void> {
    const keepMs = landing.openJob ? KEEP_MS.openJob : landing.error ? KEEP_MS.error : KEEP_MS.result
    try {
      await this.#options.store.land(claim, writeLanding(landing), keepMs)
      this.#held.delete(claim.token)
    } catch (error) {
      this.#options.onStoreFailure(error, 'leases: land')
    }
  }

  #takenAway(claim: LeaseClaim): void {
    if (this.#held.delete(claim.token)) this.#options.onTakenAway(claim)
  }
}
