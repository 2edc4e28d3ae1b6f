import type { StoreObserver } from '../contracts/observer.js'
import type { LeaseClaim, LeaseStore } from '../contracts/store.js'
import type { FlightOutcome } from '../segment/ports.js'
import { encodeOutcome } from './lease-codec.js'

export interface HeldLeasesOptions {
  store: LeaseStore
  /** Interval of the heartbeat, milliseconds. */
  heartbeatMs: number
  onStoreAnswered(): void
  observer: StoreObserver
  /**
   * Called when another process took over a flight that still runs here, because the heartbeat was
   * silent too long.
   */
  onLeaseLost(claim: LeaseClaim): void
}

/**
 * Time that a flight's outcome stays readable. Followers find a result in the store, but an error
 * only here.
 */
const KEEP_MS = { result: 10_000, error: 60_000, openJob: 3_600_000 }

/**
 * The leases that this process holds. Renews all of them, restores those an emptied store lost, and
 * releases each one.
 */
export class HeldLeases {
  readonly #options: HeldLeasesOptions
  readonly #held = new Map<string, { claim: LeaseClaim; outcome?: FlightOutcome }>()
  #timer: NodeJS.Timeout | undefined
  #renewal: Promise<void> | undefined

  constructor(options: HeldLeasesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#held.size
  }

  add(claim: LeaseClaim): void {
    this.#held.set(claim.token, { claim })
    this.#timer ??= setInterval(() => void this.renew(), this.#options.heartbeatMs).unref()
  }

  /**
   * Ends a flight. If the store fails, the lease stays held and the release is retried with every
   * heartbeat.
   */
  async release(claim: LeaseClaim, outcome: FlightOutcome): Promise<void> {
    const held = this.#held.get(claim.token)
    if (!held) return
    held.outcome = outcome
    await this.#tryRelease(claim, outcome)
  }

  /** Renews all leases once and retries failed releases. Never rejects. */
  renew(): Promise<void> {
    this.#renewal ??= this.#renewAll().finally(() => {
      this.#renewal = undefined
    })
    return this.#renewal
  }

  /** Retries failed releases once more. Followers take over any lease that is still held then. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.renew()
    this.#held.clear()
  }

  async #renewAll(): Promise<void> {
    if (this.#held.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    const held = [...this.#held.values()]
    // Leases being released are left out: a renewal that reaches the store after the release takes
    // the name again.
    await this.#renewClaims(held.filter(({ outcome }) => !outcome).map(({ claim }) => claim))
    for (const { claim, outcome } of held)
      if (outcome && this.#held.has(claim.token)) await this.#tryRelease(claim, outcome)
  }

  async #renewClaims(claims: LeaseClaim[]): Promise<void> {
    if (claims.length === 0) return
    try {
      const isHeld = await this.#options.store.renew(claims)
      this.#options.onStoreAnswered()
      for (const [index, claim] of claims.entries()) if (!isHeld[index]) this.#dropLost(claim)
    } catch (error) {
      this.#options.observer.storeFailed(error, 'leases: beat')
    }
  }

  async #tryRelease(claim: LeaseClaim, outcome: FlightOutcome): Promise<void> {
    const keepMs = outcome.openJob ? KEEP_MS.openJob : outcome.error ? KEEP_MS.error : KEEP_MS.result
    try {
      await this.#options.store.release(claim, encodeOutcome(outcome), keepMs)
      this.#held.delete(claim.token)
    } catch (error) {
      this.#options.observer.storeFailed(error, 'leases: land')
    }
  }

  #dropLost(claim: LeaseClaim): void {
    if (this.#held.delete(claim.token)) this.#options.onLeaseLost(claim)
  }
}
