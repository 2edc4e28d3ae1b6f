import { defined } from '../../contracts/defined.js'
import type { AcquireOutcome, LeaseClaim, LeaseSnapshot, LeaseStore } from '../../contracts/store.js'
import type { RedisConnection } from './connection.js'
import { ACQUIRE, RELEASE, RENEW, START } from './lease-scripts.js'
import type { Notifications } from './notifications.js'

export interface LeasesOptions {
  connection: RedisConnection
  notifications: Notifications
  prefix: string
  /** Returns the key of a stored result. */
  resultKey(name: string): string
  /**
   * Time that an empty Redis gives current holders to renew their leases before it grants new ones.
   */
  recoveryMs: number
}

export interface RedisLeases extends LeaseStore {
  /**
   * Starts the recovery time of an empty Redis now, so that the first caller need not wait. Never
   * rejects.
   */
  start(): Promise<void>
}

/** A release is published at once; only a heartbeat that stops must be polled. */
const POLL_MS = 500

/** Returns the channel on which releases are published. */
export const releaseChannel = (prefix: string): string => `${prefix}:flights:landed`

/** Creates leases in Redis. One script renews all leases of a process. */
export function createLeases({ connection, notifications, prefix, resultKey, recoveryMs }: LeasesOptions): RedisLeases {
  const leaseKey = (name: string): string => `{${prefix}:flights}:lease:${name}`
  const sinceKey = `{${prefix}:flights}:since`
  const channel = releaseChannel(prefix)
  const start = connection.script('leaseStart', 1, START)
  const acquire = connection.script('leaseAcquire', 3, ACQUIRE)
  const release = connection.script('leaseRelease', 1, RELEASE)
  const renew = connection.variadicScript('leaseRenew', RENEW)
  return {
    pollMs: POLL_MS,
    watch: notifications.subscribe,
    async start() {
      await start(sinceKey).catch(() => undefined)
    },
    async acquire({ name, token, note, ttlMs }, from) {
      const expected = [from?.token ?? '', from?.heartbeat ?? '']
      const keys = [leaseKey(name), sinceKey, resultKey(name)]
      return toOutcome(await acquire(...keys, token, note, ttlMs, recoveryMs, ...expected))
    },
    async renew(claims) {
      if (claims.length === 0) return []
      const keys = claims.map(({ name }) => leaseKey(name))
      const values = claims.flatMap(({ token, note, ttlMs }: LeaseClaim) => [token, note, ttlMs])
      const answers = (await renew(keys.length, ...keys, ...values)) as number[]
      return answers.map(answer => answer === 1)
    },
    async release({ name, token }, outcome, keepMs) {
      await release(leaseKey(name), token, outcome, keepMs, channel, name)
    },
    async read(name) {
      return toSnapshot(await connection.run(redis => redis.hmget(leaseKey(name), 'token', 'beat', 'note', 'parting')))
    },
  }
}

type LeaseFields = readonly (string | null | undefined)[]

function toOutcome(answer: unknown): AcquireOutcome {
  const [kind, ...rest] = answer as [string, ...(string | number)[]]
  if (kind === 'recovering') return { kind: 'recovering', waitMs: Number(rest[0]) }
  if (kind === 'held') return { kind: 'held', snapshot: toSnapshot(rest as string[]) as LeaseSnapshot }
  const [isStored, ...previous] = rest
  const known = {
    previous: toSnapshot(previous as string[]),
    isStored: isStored === undefined ? undefined : isStored === 1,
  }
  return { kind: 'taken', ...defined(known) }
}

function toSnapshot([token, beat, note, parting]: LeaseFields): LeaseSnapshot | undefined {
  if (!token) return undefined
  return { token, heartbeat: Number(beat), note: note ?? '', ...defined({ outcome: parting ?? undefined }) }
}
