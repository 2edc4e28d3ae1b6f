import { LRUCache } from 'lru-cache'
import { GatewayError } from '../errors.js'
import type { FlightNote, Landing, Leases, Seat } from '../segment/ports.js'
import { type LeaseClaim, type LeaseSight, type LeaseStore, StoreError } from '../storage.js'
import { HeldLeases } from './held-leases.js'
import { readLanding, readNote, writeNote } from './landing.js'
import { type Seen, Watcher } from './watcher.js'

export interface SharedFlightsOptions {
  store: LeaseStore
  /** After which a lease nobody beats for is forgotten, milliseconds: longer than any upstream call, or a job's record. */
  ttlMs: number
  /** How often a holder beats, and after how much observed silence it counts as dead. Defaults 1000 and 6000. */
  beatMs?: number
  silenceMs?: number
  /** How long a store that has just stopped answering is waited for, before a purchase goes on without it. Default 2000. */
  outageGraceMs?: number
  /** No flight is led any more by one who only follows: the process is stopping. */
  isDraining(): boolean
  onSeat(role: 'leader' | 'follower' | 'takeover' | 'unguarded'): void
  onStoreFailure(error: unknown, doing: string): void
  onTakenAway(name: string): void
}

/** Between two attempts at a store that does not answer, for one who may not go on without it. */
const STORE_PAUSE_MS = 250
const MAX_SIGHTINGS = 10_000
const RETRY_AFTER_SLOW_SECONDS = 5

/**
 * Lets one process at a time buy the answer of a name, over all processes and replicas that share a store.
 *
 * 1. Who takes the lease leads; it is held, with a beat every second, until the result is in the store.
 * 2. The others wait for the landing: for a notice, and by looking.
 * 3. A leader of whom nothing is heard, though the store answers, has died: one of those who wait takes over, and learns
 *    from the note which call the dead one had planned.
 *
 * A store that does not answer guards nobody. Who has seen no other leader goes on `unguarded`, unless the store stopped only just now and
 * may be back in a moment; who has seen one waits for the store.
 */
export class SharedFlights implements Leases {
  readonly #options: Required<SharedFlightsOptions>
  readonly #held: HeldLeases
  /** When the store first did not answer, of those times in a row. */
  #failingSince: number | undefined
  /** How names stood when somebody last looked who does not wait. */
  readonly #sightings = new LRUCache<string, { token: string; beat: number; at: number }>({ max: MAX_SIGHTINGS })

  constructor(options: SharedFlightsOptions) {
    this.#options = { beatMs: 1_000, silenceMs: 6_000, outageGraceMs: 2_000, ...options }
    this.#held = new HeldLeases({
      ...this.#options,
      onAnswer: () => {
        this.#failingSince = undefined
      },
      onTakenAway: ({ name }) => options.onTakenAway(name),
    })
  }

  /** Flights led here that have not landed. */
  get size(): number {
    return this.#held.size
  }

  async take(
    name: string,
    note: FlightNote,
    { waitMs, isFollowing }: { waitMs: number; isFollowing: boolean },
  ): Promise<Seat> {
    const { store, beatMs, silenceMs, ttlMs } = this.#options
    const claim: LeaseClaim = { name, token: note.callId, note: writeNote(note), ttlMs }
    const watcher = new Watcher(store, name, { beatMs, silenceMs, endsAt: performance.now() + waitMs })
    let dead: LeaseSight | undefined
    let mustWait = isFollowing
    try {
      for (;;) {
        // What the dead one has left is passed on with the lease: this process may die before it has ended that call.
        const earlier = dead && readNote(dead.note)
        const wanted = earlier ? { ...claim, note: writeNote({ ...note, earlier }) } : claim
        const outcome = await this.#acquire(wanted, dead)
        if (outcome?.kind === 'taken') return await this.#taken(note, claim, outcome.before, earlier)
        if (outcome?.kind === 'held') {
          mustWait = true
          const seen = await watcher.follow(outcome.sight)
          if (seen.kind === 'landed') return this.#follow(seen.sight)
          dead = this.#mayTakeOver(seen)
        } else {
          if (!outcome && !mustWait && this.#isOutage()) return this.#lead(claim, 'unguarded')
          await watcher.pause(outcome?.waitMs ?? STORE_PAUSE_MS)
        }
        if (watcher.isOver) throw slow()
      }
    } finally {
      watcher.stop()
    }
  }

  /** A flight whose leader has been silent ever since somebody first looked is none: it is told again as soon as somebody leads it. */
  async look(name: string): Promise<{ note: FlightNote; landing?: Landing } | undefined> {
    try {
      const sight = await this.#options.store.look(name)
      this.#failingSince = undefined
      if (!sight) return undefined
      const note = readNote(sight.note)
      if (sight.parting !== undefined) return { note, landing: readLanding(sight.parting) }
      return this.#isSilent(name, sight) ? undefined : { note }
    } catch (error) {
      this.#options.onStoreFailure(error, 'leases: look')
      return undefined
    }
  }

  close(): Promise<void> {
    return this.#held.close()
  }

  /** Nothing when the store does not answer. */
  async #acquire(claim: LeaseClaim, dead: LeaseSight | undefined) {
    try {
      const outcome = await this.#options.store.acquire(claim, dead)
      this.#failingSince = undefined
      return outcome
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      this.#failingSince ??= performance.now()
      this.#options.onStoreFailure(error, 'leases: acquire')
      return undefined
    }
  }

  #isSilent(name: string, { token, beat }: LeaseSight): boolean {
    const now = performance.now()
    const seen = this.#sightings.get(name)
    if (seen?.token === token && seen.beat === beat) return now - seen.at > this.#options.silenceMs
    this.#sightings.set(name, { token, beat, at: now })
    return false
  }

  #mayTakeOver(seen: Exclude<Seen, { kind: 'landed' }>): LeaseSight {
    if (seen.kind === 'over') throw slow()
    if (this.#options.isDraining()) throw draining()
    return seen.sight
  }

  /** Whether the store has not answered for longer than a restart or a failover takes. */
  #isOutage(): boolean {
    return this.#failingSince !== undefined && performance.now() - this.#failingSince >= this.#options.outageGraceMs
  }

  /** It was taken over, unless it landed at the last moment. */
  async #taken(
    note: FlightNote,
    plain: LeaseClaim,
    before: LeaseSight | undefined,
    dead: FlightNote | undefined,
  ): Promise<Seat> {
    const isTakeover = dead !== undefined && before?.parting === undefined
    const earlier = isTakeover ? dead : openJobOf(before)
    const claim = earlier ? { ...plain, note: writeNote({ ...note, earlier }) } : plain
    // A takeover has said it with the lease. The race it ends: A leaves a job open · B leads, and dies before its first beat · C would submit it again.
    if (earlier && !isTakeover)
      await this.#options.store.beat([claim]).catch(error => this.#options.onStoreFailure(error, 'leases: beat'))
    return this.#lead(claim, isTakeover ? 'takeover' : 'first', earlier)
  }

  /** An unguarded leader beats too: it takes the lease as soon as the store is back, if nobody else has it. */
  #lead(claim: LeaseClaim, purchase: 'first' | 'takeover' | 'unguarded', earlier?: FlightNote): Seat {
    this.#held.add(claim)
    this.#options.onSeat(purchase === 'first' ? 'leader' : purchase)
    return {
      role: 'leader',
      purchase,
      ...(earlier && { earlier }),
      land: landing => void this.#held.land(claim, landing),
    }
  }

  #follow({ note, parting = '{}' }: LeaseSight): Seat {
    this.#options.onSeat('follower')
    return { role: 'follower', leader: readNote(note), landing: readLanding(parting) }
  }
}

/** A flight that landed and left a job open: who leads next goes on with that job. */
function openJobOf(before: LeaseSight | undefined): FlightNote | undefined {
  return before?.parting === undefined ? undefined : readLanding(before.parting).openJob
}

function slow(): GatewayError {
  const detail = 'Another gateway process is still buying this answer; it is kept and found by asking again.'
  return new GatewayError('upstream_slow', detail, { billed: 'unknown', retryAfterSeconds: RETRY_AFTER_SLOW_SECONDS })
}

function draining(): GatewayError {
  return new GatewayError('shutting_down', 'The gateway is shutting down.', {
    retryAfterSeconds: RETRY_AFTER_SLOW_SECONDS,
  })
}
