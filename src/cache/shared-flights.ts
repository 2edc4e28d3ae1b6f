import { LRUCache } from 'lru-cache'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { SharedFlightRole, StoreObserver } from '../contracts/observer.js'
import { type LeaseClaim, type LeaseSnapshot, type LeaseStore, StoreError } from '../contracts/store.js'
import type { FlightNote, FlightRole, Leases, SeenFlight } from '../segment/ports.js'
import { HeldLeases } from './held-leases.js'
import { decodeNote, decodeOutcome } from './lease-codec.js'
import { type FollowOutcome, LeaseFollower } from './lease-follower.js'

export interface SharedFlightsOptions {
  store: LeaseStore
  /**
   * Time to live of an abandoned lease, milliseconds: longer than any upstream call, and than
   * Segmind's job record.
   */
  ttlMs: number
  /**
   * Interval of the heartbeat, and the observed silence after which a holder counts as dead.
   * Defaults 1000 and 6000.
   */
  heartbeatMs?: number
  silenceMs?: number
  /**
   * Time a new outage of the store may last before a purchase proceeds without a lease. Default
   * 2000.
   */
  outageGraceMs?: number
  /** While true, a follower takes no flight over: the process is stopping. */
  isDraining(): boolean
  observer: FlightObserver
}

export interface FlightObserver extends StoreObserver {
  flightJoined(role: SharedFlightRole): void
  /** Called when another process took over a flight that still runs here. */
  leaseTakenOver(name: string): void
}

/**
 * Pause before the next attempt at a failing store, for a caller that may not proceed without it.
 */
const STORE_RETRY_MS = 250
/** Bound by a sum of ones: with `max`, lru-cache would allocate room for all of them at the start. */
const SNAPSHOTS = { maxSize: 10_000, sizeCalculation: () => 1 }
/** Multiple of `silenceMs` for which a holder is watched without a caller. */
const WATCH_FACTOR = 2
const RETRY_AFTER_SLOW_SECONDS = 5

/**
 * Lets one process at a time buy the result of a name, across all processes and replicas that share
 * a store.
 *
 * 1. The process that acquires the lease leads. It renews the lease every second until the result
 *    is in the store.
 * 2. The others follow: they wait for a notification of the release, and poll.
 * 3. A leader whose heartbeat stops while the store answers has died. One follower takes the lease
 *    over, and learns from its note which call the dead leader had planned.
 *
 * A failing store grants no leases. A process that has seen no other leader then proceeds
 * `unguarded`, except in the first moments of an outage, which may be short. A process that has
 * seen another leader waits for the store.
 */
export class SharedFlights implements Leases {
  readonly #options: Required<SharedFlightsOptions>
  readonly #held: HeldLeases
  /** Start of the store's current outage; undefined while it answers. */
  #failingSince: number | undefined
  /** State of leases when `look` last saw a change. */
  readonly #snapshots = new LRUCache<string, { token: string; heartbeat: number; at: number }>(SNAPSHOTS)
  /** Last state of leases whose holder was found silent after the callers that followed it had left. */
  readonly #silent = new LRUCache<string, LeaseSnapshot>(SNAPSHOTS)
  /** By name: watches a holder without a caller. */
  readonly #watchers = new Map<string, LeaseFollower>()

  constructor(options: SharedFlightsOptions) {
    this.#options = { heartbeatMs: 1_000, silenceMs: 6_000, outageGraceMs: 2_000, ...options }
    this.#held = new HeldLeases({
      store: options.store,
      heartbeatMs: this.#options.heartbeatMs,
      observer: options.observer,
      onStoreAnswered: () => {
        this.#failingSince = undefined
      },
      onLeaseLost: ({ name }) => options.observer.leaseTakenOver(name),
    })
  }

  /** Number of leases held by this process. */
  get size(): number {
    return this.#held.size
  }

  async take(
    name: string,
    note: FlightNote,
    { waitMs, isFollowing }: { waitMs: number; isFollowing: boolean },
  ): Promise<FlightRole> {
    const { store, heartbeatMs, silenceMs, ttlMs } = this.#options
    const claim: LeaseClaim = { name, token: note.callId, note: JSON.stringify(note), ttlMs }
    const endsAt = performance.now() + waitMs
    let follower: LeaseFollower | undefined
    let dead: LeaseSnapshot | undefined
    let mustWait = isFollowing
    try {
      for (;;) {
        // The lease itself carries the dead leader's note: this process may die before it has ended
        // that call.
        const earlier = dead && decodeNote(dead.note)
        const wanted = earlier ? { ...claim, note: JSON.stringify({ ...note, earlier }) } : claim
        const acquired = await this.#acquire(wanted, dead)
        if (acquired?.kind === 'taken') return await this.#leadTaken(note, claim, acquired, earlier)
        follower ??= new LeaseFollower(store, name, { heartbeatMs, silenceMs, endsAt })
        if (acquired?.kind === 'held') {
          mustWait = true
          const followed = await this.#followHolder(name, acquired.snapshot, follower)
          if (followed.kind === 'released') return this.#follow(followed.snapshot)
          dead = this.#toTakeOver(followed)
        } else {
          if (!acquired && !mustWait && this.#isOutage()) return this.#lead(claim, 'unguarded')
          await follower.pause(acquired?.waitMs ?? STORE_RETRY_MS)
        }
        if (follower.isTimedOut) throw upstreamSlow()
      }
    } finally {
      follower?.stop()
    }
  }

  /** A flight is dead if its leader has been silent for `silenceMs` since a first `look`. */
  async look(name: string): Promise<SeenFlight | undefined> {
    try {
      const snapshot = await this.#options.store.read(name)
      this.#failingSince = undefined
      if (!snapshot) return undefined
      const note = decodeNote(snapshot.note)
      if (snapshot.outcome !== undefined) return { note, outcome: decodeOutcome(snapshot.outcome) }
      return this.#isSilent(name, snapshot) ? { note, isDead: true } : { note }
    } catch (error) {
      this.#options.observer.storeFailed(error, 'leases: look')
      return undefined
    }
  }

  close(): Promise<void> {
    for (const watcher of this.#watchers.values()) watcher.stop()
    return this.#held.close()
  }

  /** Returns undefined when the store fails. */
  async #acquire(claim: LeaseClaim, dead: LeaseSnapshot | undefined) {
    try {
      const acquired = await this.#options.store.acquire(claim, dead)
      this.#failingSince = undefined
      return acquired
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      this.#failingSince ??= performance.now()
      this.#options.observer.storeFailed(error, 'leases: acquire')
      return undefined
    }
  }

  #isSilent(name: string, { token, heartbeat }: LeaseSnapshot): boolean {
    const now = performance.now()
    const seen = this.#snapshots.get(name)
    if (seen?.token === token && seen.heartbeat === heartbeat) return now - seen.at > this.#options.silenceMs
    this.#snapshots.set(name, { token, heartbeat, at: now })
    return false
  }

  async #followHolder(name: string, snapshot: LeaseSnapshot, follower: LeaseFollower): Promise<FollowOutcome> {
    if (isSame(this.#silent.get(name), snapshot)) return { kind: 'silent', snapshot }
    const followed = await follower.follow(snapshot)
    if (followed.kind === 'timeout') this.#watchOn(name, snapshot)
    return followed
  }

  /**
   * Continues to watch a holder whose follower ran out of patience, until it is known whether it lives.
   * Otherwise callers with less patience than `silenceMs` would never replace a dead leader.
   */
  #watchOn(name: string, snapshot: LeaseSnapshot): void {
    if (this.#watchers.has(name) || this.#options.isDraining()) return
    const { store, heartbeatMs, silenceMs } = this.#options
    const endsAt = performance.now() + WATCH_FACTOR * silenceMs
    const follower = new LeaseFollower(store, name, { heartbeatMs, silenceMs, endsAt })
    this.#watchers.set(name, follower)
    void follower.follow(snapshot).then(followed => {
      follower.stop()
      this.#watchers.delete(name)
      if (followed.kind === 'silent') this.#silent.set(name, followed.snapshot)
    })
  }

  #toTakeOver(followed: Exclude<FollowOutcome, { kind: 'released' }>): LeaseSnapshot {
    if (followed.kind === 'timeout') throw upstreamSlow()
    if (this.#options.isDraining()) throw shuttingDown()
    return followed.snapshot
  }

  /** Returns whether the store has failed for longer than a restart or a failover takes. */
  #isOutage(): boolean {
    return this.#failingSince !== undefined && performance.now() - this.#failingSince >= this.#options.outageGraceMs
  }

  /**
   * Leads with a lease just acquired. It is a takeover unless the dead leader released it at the
   * last moment.
   */
  async #leadTaken(
    note: FlightNote,
    claim: LeaseClaim,
    { previous, isStored }: { previous?: LeaseSnapshot; isStored?: boolean },
    dead: FlightNote | undefined,
  ): Promise<FlightRole> {
    const isTakeover = dead !== undefined && previous?.outcome === undefined
    const earlier = isTakeover ? dead : openJobOf(previous)
    const noted = earlier ? { ...claim, note: JSON.stringify({ ...note, earlier }) } : claim
    // Writes the open job into the lease now; a takeover has done so on acquiring. The race this
    // ends: A leaves a job open · B leads, and dies before its first heartbeat · C would submit the
    // job again.
    if (earlier && !isTakeover)
      await this.#options.store.renew([noted]).catch(error => this.#options.observer.storeFailed(error, 'leases: beat'))
    return this.#lead(noted, isTakeover ? 'takeover' : 'first', { earlier, isStored })
  }

  /**
   * Starts the heartbeat. An unguarded leader thereby acquires the lease when the store is back, if
   * it is free.
   */
  #lead(
    claim: LeaseClaim,
    purchase: Extract<FlightRole, { role: 'leader' }>['purchase'],
    known: { earlier?: FlightNote | undefined; isStored?: boolean | undefined } = {},
  ): FlightRole {
    this.#held.add(claim)
    this.#options.observer.flightJoined(purchase === 'first' ? 'leader' : purchase)
    return {
      role: 'leader',
      purchase,
      ...defined(known),
      end: outcome => void this.#held.release(claim, outcome),
    }
  }

  #follow({ note, outcome = '{}' }: LeaseSnapshot): FlightRole {
    this.#options.observer.flightJoined('follower')
    return { role: 'follower', leader: decodeNote(note), outcome: decodeOutcome(outcome) }
  }
}

function isSame(one: LeaseSnapshot | undefined, other: LeaseSnapshot): boolean {
  return one?.token === other.token && one.heartbeat === other.heartbeat
}

/** Returns the job that a released flight left open; the next leader polls it. */
function openJobOf(previous: LeaseSnapshot | undefined): FlightNote | undefined {
  return previous?.outcome === undefined ? undefined : decodeOutcome(previous.outcome).openJob
}

function upstreamSlow(): GatewayError {
  const detail =
    'Another gateway process is still buying this result. The result is kept: repeat the request later to get it.'
  return new GatewayError('upstream_slow', detail, { billed: 'unknown', retryAfterSeconds: RETRY_AFTER_SLOW_SECONDS })
}

function shuttingDown(): GatewayError {
  return new GatewayError('shutting_down', 'The gateway is shutting down.', {
    retryAfterSeconds: RETRY_AFTER_SLOW_SECONDS,
  })
}
