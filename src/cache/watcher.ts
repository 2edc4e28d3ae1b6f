import type { LeaseSight, LeaseStore } from '../storage.js'

export interface WatcherOptions {
  beatMs: number
  /** After how much observed silence a holder counts as dead. */
  silenceMs: number
  /** When the waiting ends, by `performance.now()`. */
  endsAt: number
}

/** What became of a flight that was followed. `silent`: its holder died; the sight is the last there was of it. `over`: the waiting is. */
export type Seen = { kind: 'landed' | 'silent'; sight: LeaseSight } | { kind: 'over' }

/** A look that comes later than this many times its due was kept up here: it is no silence of the other side. */
const LATE = 2

/** Follows the flight of one name that another process leads. */
export class Watcher {
  readonly #store: LeaseStore
  readonly #name: string
  readonly #options: WatcherOptions
  readonly #stopWatching: () => void
  #wake: (() => void) | undefined
  #hasLanded = false

  constructor(store: LeaseStore, name: string, options: WatcherOptions) {
    this.#store = store
    this.#name = name
    this.#options = options
    // From the beginning: a landing between the first look and the first wait is not missed.
    this.#stopWatching = store.watch(name, () => {
      this.#hasLanded = true
      this.#wake?.()
    })
  }

  get isOver(): boolean {
    return performance.now() >= this.#options.endsAt
  }

  stop(): void {
    this.#stopWatching()
  }

  /** Waits so long, or until the waiting is over or a landing is told. */
  async pause(ms: number): Promise<void> {
    const leftMs = Math.max(0, Math.min(ms, this.#options.endsAt - performance.now()))
    if (this.#hasLanded) this.#hasLanded = false
    else
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    this.#hasLanded = false
    this.#wake = undefined
  }

  /**
   * Waits until the flight has landed, or its holder is silent: its beat stands still while the store answers, or the lease is gone
   * and not taken back. Only time in which this process looked and the store answered counts: whoever was frozen, here or
   * there, is not declared dead by the first look after that.
   */
  async follow(first: LeaseSight): Promise<Seen> {
    let sight = first
    let silentMs = 0
    let lookedAt = performance.now()
    for (;;) {
      if (this.isOver) return { kind: 'over' }
      await this.pause(this.#store.pollMs)
      const now = performance.now()
      const observedMs = Math.min(now - lookedAt, this.#store.pollMs * LATE)
      lookedAt = now
      const seen = await this.#look()
      if (seen === 'unknown') silentMs = 0
      else if (seen?.parting !== undefined) return { kind: 'landed', sight: seen }
      else if (seen && (seen.token !== sight.token || seen.beat !== sight.beat)) {
        sight = seen
        silentMs = 0
      } else {
        silentMs += observedMs
        // A lease that is gone was lost by the store; its holder takes it back with its next beat.
        if (silentMs >= (seen ? this.#options.silenceMs : this.#options.beatMs * 3)) return { kind: 'silent', sight }
      }
    }
  }

  async #look(): Promise<LeaseSight | undefined | 'unknown'> {
    try {
      return await this.#store.look(this.#name)
    } catch {
      return 'unknown'
    }
  }
}
