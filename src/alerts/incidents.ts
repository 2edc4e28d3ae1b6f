import { randomUUID } from 'node:crypto'
import type { RecordStore, SharedRecord } from '../storage.js'
import { CLAIM_STALE_MS, type Incident, readIncident, SEEN_EVERY_MS, toTell, UNSEEN_MS } from './incident.js'

export interface IncidentsOptions {
  records: RecordStore
  now(): number
  /** How long an incident that was told is not told again, though its condition was over in between. */
  coolDownMs: number
  /** What the store did not do is tried again at the next look. */
  onStoreFailure(error: unknown): void
}

/** The right to tell an incident, which no other process has meanwhile. */
export interface Claim {
  messageId: string
  openedAt: number
  /** Aborted when another process has taken it over, since this one could not say for long that it is at it. */
  lost: AbortSignal
  /** `released`: another process may tell it at once. Never rejects: what the store does not take is written by `keep`. */
  end(how: ClaimEnd): Promise<void>
}

export type ClaimEnd = 'sent' | 'failed' | 'released'

interface Held {
  lost: AbortController
  /** How it ended, as long as that is not written. */
  end?: ClaimEnd
}

/** Longer than any budget window, and renewed while the condition holds. */
const KEEP_SECONDS = 45 * 86_400
const TRIES = 5

/** Sees to it that an incident is told once, whichever replicas see it: one record each, changed by compare-and-set. Nothing here rejects. */
export class Incidents {
  readonly #options: IncidentsOptions
  readonly #self = randomUUID()
  readonly #held = new Map<string, Held>()

  constructor(options: IncidentsOptions) {
    this.#options = options
  }

  /** A condition holds. Answers a claim when it is for this process to tell, `told` when it was told, else nothing. */
  open(key: string): Promise<Claim | 'told' | undefined> {
    return this.#attempt(async () => {
      if (this.#held.has(key)) return undefined
      const { record, found } = await this.#read(key)
      const { now, coolDownMs } = this.#options
      const what = toTell(found, { now: now(), coolDownMs, self: this.#self })
      if (what !== 'nothing') return this.#claim(key, record, what === 'same' ? found : undefined)
      await this.#seen(key, record, found)
      return found?.status === 'sent' ? 'told' : undefined
    })
  }

  /** A condition does not hold (any more). */
  async over(key: string): Promise<void> {
    await this.#attempt(async () => {
      if (this.#held.has(key)) return
      const { record, found } = await this.#read(key)
      const now = this.#options.now()
      if (!record || !found || found.clearedAt !== undefined || now - found.seenAt <= UNSEEN_MS) return
      if (found.status !== 'claimed') await this.#put(key, { ...found, clearedAt: now }, record)
      else if (now - found.claimedAt > CLAIM_STALE_MS) await this.#options.records.delete(nameOf(key), record.version)
    })
  }

  /** A condition holds, and what was told of another one tells it as well. */
  async cover(key: string): Promise<void> {
    await this.#attempt(async () => {
      if (this.#held.has(key)) return
      const { record, found } = await this.#read(key)
      const now = this.#options.now()
      const isBeingTold = found?.status === 'claimed' && now - found.claimedAt <= CLAIM_STALE_MS
      if (isBeingTold) return
      if (found?.status === 'sent' && found.clearedAt === undefined) await this.#seen(key, record, found)
      else await this.#put(key, { ...this.#fresh(now), status: 'sent', endedAt: now }, record)
    })
  }

  /** Says that this process is still telling what it has claimed, and writes ends that the store has not taken. */
  async keep(): Promise<void> {
    await Promise.all([...this.#held].map(([key, held]) => this.#attempt(() => this.#keep(key, held))))
  }

  async #keep(key: string, held: Held): Promise<void> {
    // It may end while this is under way: what counts is what was written.
    let written: ClaimEnd | undefined
    const isOurs = await this.#rewrite(key, incident => {
      written = held.end
      return ended(incident, written, this.#options.now())
    })
    if (!isOurs && held.end === undefined) held.lost.abort()
    if (!isOurs || written !== undefined) this.#held.delete(key)
  }

  async #claim(key: string, record: SharedRecord | undefined, same: Incident | undefined): Promise<Claim | undefined> {
    const fresh = this.#fresh(this.#options.now())
    const claimed = same ? { ...fresh, messageId: same.messageId, openedAt: same.openedAt } : fresh
    // Several replicas see the same record, or none: the first to write has it, the others are refused.
    if (!(await this.#put(key, claimed, record)) || this.#held.has(key)) return undefined
    const held: Held = { lost: new AbortController() }
    this.#held.set(key, held)
    const end = async (how: ClaimEnd) => {
      if (this.#held.get(key) !== held) return
      held.end = how
      await this.#attempt(() => this.#keep(key, held))
    }
    return { messageId: claimed.messageId, openedAt: claimed.openedAt, lost: held.lost.signal, end }
  }

  /** Changes what this process holds. False when it does not hold it any more. */
  async #rewrite(key: string, change: (incident: Incident) => Incident): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries++) {
      const { record, found } = await this.#read(key)
      if (found?.status !== 'claimed' || found.holder !== this.#self) return false
      if (await this.#put(key, change(found), record)) return true
      // Renewed and ended at the same moment, by this process itself: read again.
    }
    throw new Error(`the incident ${key} changes all the time`)
  }

  async #seen(key: string, record: SharedRecord | undefined, found: Incident | undefined): Promise<void> {
    const now = this.#options.now()
    if (!found || found.status === 'claimed' || found.clearedAt !== undefined) return
    if (now - found.seenAt >= SEEN_EVERY_MS) await this.#put(key, { ...found, seenAt: now }, record)
  }

  #fresh(now: number): Incident {
    const messageId = `msg_${randomUUID().replaceAll('-', '')}`
    return { messageId, openedAt: now, status: 'claimed', holder: this.#self, claimedAt: now, seenAt: now }
  }

  async #read(key: string): Promise<{ record: SharedRecord | undefined; found: Incident | undefined }> {
    const record = await this.#options.records.get(nameOf(key))
    return { record, found: record && readIncident(record.value) }
  }

  #put(key: string, incident: Incident, record: SharedRecord | undefined): Promise<boolean> {
    return this.#options.records.put(nameOf(key), JSON.stringify(incident), record?.version ?? '', KEEP_SECONDS)
  }

  async #attempt<T>(step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step()
    } catch (error) {
      this.#options.onStoreFailure(error)
      return undefined
    }
  }
}

const nameOf = (key: string) => `alerts:incident:${key}`

function ended(incident: Incident, end: ClaimEnd | undefined, now: number): Incident {
  if (end === undefined) return { ...incident, claimedAt: now, seenAt: now }
  if (end === 'released') return { ...incident, claimedAt: 0 }
  return { ...incident, status: end, endedAt: now, seenAt: now }
}
