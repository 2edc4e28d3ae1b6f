import type { LeaseSnapshot, LeaseStore } from '../contracts/store.js'

export interface LeaseFollowerOptions {
  heartbeatMs: number
  /** Observed silence after which a holder counts as dead. */
  silenceMs: number
  /** Deadline of the wait, by `performance.now()`. */
  endsAt: number
}

/**
 * Result of following a lease. `released`: its holder released it. `silent`: its holder died, and
 * `snapshot` is the last state seen. `timeout`: the deadline passed.
 */
export type FollowOutcome = { kind: 'released' | 'silent'; snapshot: LeaseSnapshot } | { kind: 'timeout' }

/**
 * A poll later than this multiple of its interval was delayed by this process, so the excess is no
 * silence.
 */
const MAX_COUNTED_INTERVALS = 2
/** A lease missing for this many heartbeats counts as abandoned. */
const MISSING_HEARTBEATS = 3

/** Follows the lease of one name that another process holds. */
export class LeaseFollower {
  readonly #store: LeaseStore
  readonly #name: string
  readonly #options: LeaseFollowerOptions
  readonly #stopWatching: () => void
  #wake: (() => void) | undefined
  #isNotified = false
  #isStopped = false

  constructor(store: LeaseStore, name: string, options: LeaseFollowerOptions) {
    this.#store = store
    this.#name = name
    this.#options = options
    this.#stopWatching = store.watch(name, () => {
      this.#isNotified = true
      this.#wake?.()
    })
  }

  get isTimedOut(): boolean {
    return this.#isStopped || performance.now() >= this.#options.endsAt
  }

  /** Ends the wait as if its deadline had passed. */
  stop(): void {
    this.#isStopped = true
    this.#stopWatching()
    this.#wake?.()
  }

  /** Waits for `ms`, the deadline or a notification of the release, whichever comes first. */
  async pause(ms: number): Promise<void> {
    const leftMs = Math.max(0, Math.min(ms, this.#options.endsAt - performance.now()))
    if (!this.#isNotified)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    this.#isNotified = false
    this.#wake = undefined
  }

  /**
   * Waits until the lease is released or its holder is silent: the heartbeat stands still while the
   * store answers, or the lease is missing and not restored. Only time during which this process
   * polled and the store answered counts as silence. A process that was frozen, this one or the
   * holder, is therefore not declared dead by the first poll after that.
   */
  async follow(first: LeaseSnapshot): Promise<FollowOutcome> {
    let snapshot = first
    let silentMs = 0
    let polledAt = performance.now()
    // The first poll is at once: the lease may have been released before the watch began.
    let pauseMs = 0
    for (;;) {
      if (this.isTimedOut) return { kind: 'timeout' }
      await this.pause(pauseMs)
      pauseMs = this.#store.pollMs
      const now = performance.now()
      const observedMs = Math.min(now - polledAt, this.#store.pollMs * MAX_COUNTED_INTERVALS)
      polledAt = now
      const current = await this.#read()
      if (current === 'unknown') silentMs = 0
      else if (current?.outcome !== undefined) return { kind: 'released', snapshot: current }
      else if (current && (current.token !== snapshot.token || current.heartbeat !== snapshot.heartbeat)) {
        snapshot = current
        silentMs = 0
      } else {
        silentMs += observedMs
        // A missing lease was lost by the store. A living holder restores it with its next
        // heartbeat.
        const { silenceMs, heartbeatMs } = this.#options
        if (silentMs >= (current ? silenceMs : heartbeatMs * MISSING_HEARTBEATS)) return { kind: 'silent', snapshot }
      }
    }
  }

  async #read(): Promise<LeaseSnapshot | undefined | 'unknown'> {
    try {
      return await this.#store.read(this.#name)
    } catch {
      return 'unknown'
    }
  }
}
