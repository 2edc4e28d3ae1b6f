import type { AcquireOutcome, LeaseClaim, LeaseSight, LeaseStore } from '../../storage.js'
import type { Connection } from './connection.js'
import { ACQUIRE, BEAT, LAND, SINCE } from './lease-scripts.js'
import type { Notices } from './notices.js'

export interface LeasesOptions {
  connection: Connection
  notices: Notices
  prefix: string
  /** How long a Redis that is new or was emptied gives holders to say what they hold. */
  settleMs: number
}

export interface RedisLeases extends LeaseStore {
  /** Tells a Redis that is (again) there that leases are kept in it, so that the first who asks need not wait for it. Never rejects. */
  begin(): Promise<void>
}

/** A landing is told at once; a beat that stops has to be looked for. */
const POLL_MS = 500

/** Where landings are told. */
export const channelUnder = (prefix: string): string => `${prefix}:flights:landed`

/** Leases in Redis. All their keys share a hash tag, so a cluster keeps them on one node, where one script beats for all. */
export function createLeases({ connection, notices, prefix, settleMs }: LeasesOptions): RedisLeases {
  const key = (name: string): string => `{${prefix}:flights}:lease:${name}`
  const sinceKey = `{${prefix}:flights}:since`
  const channel = channelUnder(prefix)
  const since = connection.script('leaseSince', 1, SINCE)
  const acquire = connection.script('leaseAcquire', 2, ACQUIRE)
  const land = connection.script('leaseLand', 1, LAND)
  const beat = connection.variadicScript('leaseBeat', BEAT)
  return {
    pollMs: POLL_MS,
    watch: notices.watch,
    async begin() {
      await since(sinceKey).catch(() => undefined)
    },
    async acquire({ name, token, note, ttlMs }, from) {
      const seen = [from?.token ?? '', from === undefined ? '' : from.beat]
      return toOutcome(await acquire(key(name), sinceKey, token, note, ttlMs, settleMs, ...seen))
    },
    async beat(claims) {
      if (claims.length === 0) return []
      const keys = claims.map(({ name }) => key(name))
      const values = claims.flatMap(({ token, note, ttlMs }: LeaseClaim) => [token, note, ttlMs])
      const answers = (await beat(keys.length, ...keys, ...values)) as number[]
      return answers.map(answer => answer === 1)
    },
    async land({ name, token }, parting, keepMs) {
      await land(key(name), token, parting, keepMs, channel, name)
    },
    async look(name) {
      return toSight(await connection.run(redis => redis.hmget(key(name), 'token', 'beat', 'note', 'parting')))
    },
  }
}

type Fields = readonly (string | null | undefined)[]

function toOutcome(answer: unknown): AcquireOutcome {
  const [what, ...rest] = answer as [string, ...(string | number)[]]
  if (what === 'settling') return { kind: 'settling', waitMs: Number(rest[0]) }
  const sight = toSight(rest as string[])
  if (what === 'held' && sight) return { kind: 'held', sight }
  return { kind: 'taken', ...(sight && { before: sight }) }
}

function toSight([token, beat, note, parting]: Fields): LeaseSight | undefined {
  if (!token) return undefined
  return { token, beat: Number(beat), note: note ?? '', ...(typeof parting === 'string' && { parting }) }
}
