import { EventEmitter } from 'node:events'
import type { Database } from 'lmdb'
import type { Clock } from '../../contracts/clock.js'
import { defined } from '../../contracts/defined.js'
import type { LeaseSnapshot, LeaseStore } from '../../contracts/store.js'
import type { Environment } from './environment.js'

export interface EmbeddedLeases extends LeaseStore {
  /** Deletes expired leases in small transactions, so that other writers do not wait long. */
  purge(): Promise<void>
}

/** A lease as stored. The member names are part of the file format. */
interface StoredLease {
  token: string
  /** The heartbeat counter. */
  beat: number
  note: string
  /** The outcome; present once the lease is released. */
  parting?: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

/** Short, since a read costs microseconds: all processes of the machine map the same memory. */
const POLL_MS = 50
const PURGE_BATCH = 100

/**
 * Leases between the processes of one machine, in the ledger's file, where nothing is evicted.
 * Only followers in the releasing process are notified; followers in other processes poll.
 */
export function createLeases(environment: Environment, now: Clock): EmbeddedLeases {
  const leases = environment.root.openDB<StoredLease, string>('leases', {})
  const followers = new EventEmitter().setMaxListeners(0)
  const readAlive = (name: string): StoredLease | undefined => {
    const lease = leases.get(name)
    return lease && lease.expiresAt > now() ? lease : undefined
  }
  return {
    pollMs: POLL_MS,
    acquire: ({ name, token, note, ttlMs }, from) =>
      environment.write(() => {
        const current = readAlive(name)
        if (isHeld(current) && current.token === token) return { kind: 'taken' }
        const isAsExpected = current?.token === from?.token && current?.beat === from?.heartbeat
        if (isHeld(current) && !isAsExpected) return { kind: 'held', snapshot: toSnapshot(current) }
        leases.put(name, { token, beat: 0, note, expiresAt: now() + ttlMs })
        return { kind: 'taken', ...defined({ previous: current && toSnapshot(current) }) }
      }),
    renew: async claims =>
      claims.length === 0
        ? []
        : environment.write(() =>
            claims.map(({ name, token, note, ttlMs }) => {
              const current = readAlive(name)
              if (isHeld(current) && current.token !== token) return false
              leases.put(name, { token, beat: (current?.beat ?? 0) + 1, note, expiresAt: now() + ttlMs })
              return true
            }),
          ),
    async release({ name, token }, outcome, keepMs) {
      const isReleased = await environment.write(() => {
        const current = readAlive(name)
        if (current?.token !== token) return false
        leases.put(name, { ...current, parting: outcome, expiresAt: now() + keepMs })
        return true
      })
      if (isReleased) followers.emit(name)
    },
    async read(name) {
      return environment.read(() => {
        // Without the reset, this read sees the state of an earlier read in the same event-loop
        // iteration.
        leases.resetReadTxn()
        const lease = readAlive(name)
        return lease && toSnapshot(lease)
      })
    },
    watch(name, onReleased) {
      followers.on(name, onReleased)
      return () => followers.off(name, onReleased)
    },
    async purge() {
      while (environment.read(() => listExpired(leases, now(), 1)).length > 0)
        await environment.write(() => {
          for (const name of listExpired(leases, now(), PURGE_BATCH)) leases.remove(name)
        })
    },
  }
}

function listExpired(leases: Database<StoredLease, string>, now: number, limit: number): string[] {
  const expired: string[] = []
  for (const { key, value } of leases.getRange()) {
    if (value.expiresAt <= now) expired.push(key)
    if (expired.length === limit) break
  }
  return expired
}

function isHeld(lease: StoredLease | undefined): lease is StoredLease {
  return lease !== undefined && lease.parting === undefined
}

function toSnapshot({ token, beat, note, parting }: StoredLease): LeaseSnapshot {
  return { token, heartbeat: beat, note, ...defined({ outcome: parting }) }
}
