import type { Database } from 'lmdb'
import type { LeaseSight, LeaseStore } from '../../storage.js'
import { createWatchers } from '../watchers.js'
import type { Environment } from './environment.js'

export interface EmbeddedLeases extends LeaseStore {
  /** Takes out what has expired; some at a time, so that nobody waits long for the one writer. */
  purge(): Promise<void>
}

interface Lease extends LeaseSight {
  /** Milliseconds since 1970. */
  expiresAt: number
}

/** Processes of one machine read the same memory: looking costs microseconds. */
const POLL_MS = 50
const PURGE_BATCH = 100

/** Leases among the processes of one machine. They lie beside the ledger, where nothing is evicted; whoever waits in the same process is told at once. */
export function createLeases(environment: Environment, now: () => number): EmbeddedLeases {
  const leases = environment.root.openDB<Lease, string>('leases', {})
  const watchers = createWatchers()
  const alive = (name: string): Lease | undefined => {
    const lease = leases.get(name)
    return lease && lease.expiresAt > now() ? lease : undefined
  }
  return {
    pollMs: POLL_MS,
    acquire: ({ name, token, note, ttlMs }, from) =>
      environment.write(() => {
        const before = alive(name)
        if (isHeld(before) && before.token === token) return { kind: 'taken' }
        const isAsSeen = before?.token === from?.token && before?.beat === from?.beat
        if (isHeld(before) && !isAsSeen) return { kind: 'held', sight: toSight(before) }
        leases.put(name, { token, beat: 0, note, expiresAt: now() + ttlMs })
        return { kind: 'taken', ...(before && { before: toSight(before) }) }
      }),
    beat: async claims =>
      claims.length === 0
        ? []
        : environment.write(() =>
            claims.map(({ name, token, note, ttlMs }) => {
              const before = alive(name)
              if (isHeld(before) && before.token !== token) return false
              leases.put(name, { token, beat: (before?.beat ?? 0) + 1, note, expiresAt: now() + ttlMs })
              return true
            }),
          ),
    async land({ name, token }, parting, keepMs) {
      const hasLanded = await environment.write(() => {
        const before = alive(name)
        if (before?.token !== token) return false
        leases.put(name, { ...before, parting, expiresAt: now() + keepMs })
        return true
      })
      if (hasLanded) watchers.tell(name)
    },
    async look(name) {
      return environment.read(() => {
        // Else it would be what an earlier read of this turn of the event loop had before it.
        leases.resetReadTxn()
        const lease = alive(name)
        return lease && toSight(lease)
      })
    },
    watch: watchers.watch,
    async purge() {
      while (environment.read(() => expiredOf(leases, now(), 1)).length > 0)
        await environment.write(() => {
          for (const name of expiredOf(leases, now(), PURGE_BATCH)) leases.remove(name)
        })
    },
  }
}

function expiredOf(leases: Database<Lease, string>, now: number, limit: number): string[] {
  const expired: string[] = []
  for (const { key, value } of leases.getRange()) {
    if (value.expiresAt <= now) expired.push(key)
    if (expired.length === limit) break
  }
  return expired
}

function isHeld(lease: Lease | undefined): lease is Lease {
  return lease !== undefined && lease.parting === undefined
}

function toSight({ expiresAt: _ours, ...sight }: Lease): LeaseSight {
  return sight
}
