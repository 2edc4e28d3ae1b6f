import { timingSafeEqual } from 'node:crypto'
import type { Caller, Team } from '../segment/types.js'
import { hashApiKey, parseApiKey } from './api-key.js'
import { endOfDate } from './key-dates.js'
import type { TeamEntry } from './teams-file.js'

/** Who a key belongs to; or `unauthorized` (missing, mistyped, unknown, revoked, expired: not told apart) or `disabled` (a good key of a disabled team). */
export type Authenticated = { caller: Caller } | { refused: 'unauthorized' | 'disabled' }

/** Who may ask. */
export interface TeamRegistry {
  authenticate(keyText: string | undefined, nowMs: number): Authenticated
  /** With the budgets that hold at a moment (default: now). */
  teams(nowMs?: number): readonly Team[]
  /** The teams and their keys as the file has them. */
  keys(): readonly TeamEntry[]
}

interface KnownKey {
  digest: Buffer
  caller: Caller
  goodBeforeMs: number
  isRevoked: boolean
}

/**
 * The registry of a set of teams. Keys are compared by their SHA-256 in constant time, and a key with an unknown id is compared, too,
 * so that the time taken tells neither an id nor a part of a key. What a key is for is part of its text, and so of its hash.
 */
export function createRegistry(entries: readonly TeamEntry[]): TeamRegistry {
  const keys = new Map(entries.flatMap(knownKeys))
  return {
    teams: (nowMs = Date.now()) => entries.map(entry => asOf(entry.team, nowMs)),
    keys: () => entries,
    authenticate(keyText = '', nowMs) {
      const digest = hashApiKey(keyText)
      const parsed = parseApiKey(keyText)
      const key = keys.get(parsed?.id ?? '')
      const isSame = timingSafeEqual(digest, key?.digest ?? NOBODYS_DIGEST)
      if (!key || !isSame || key.isRevoked || nowMs >= key.goodBeforeMs) return { refused: 'unauthorized' }
      if (key.caller.team.disabled) return { refused: 'disabled' }
      const caller = key.caller.team.override ? { ...key.caller, team: asOf(key.caller.team, nowMs) } : key.caller
      return { caller: parsed?.isTest ? { ...caller, isTest: true } : caller }
    },
  }
}

/** A team with the budget that holds at that moment: while an override lasts, its amounts instead of the usual ones. */
export function asOf(team: Team, nowMs: number): Team {
  const { override, budget } = team
  return override && nowMs < override.until ? { ...team, budget: { ...budget, ...override.budget } } : team
}

const NOBODYS_DIGEST = Buffer.alloc(32)

function knownKeys({ team, keys }: TeamEntry): [id: string, key: KnownKey][] {
  return keys.map(({ id, sha256, expires, revoked }) => {
    const goodBeforeMs = expires === undefined ? Number.POSITIVE_INFINITY : (endOfDate(expires) ?? 0)
    return [id, { digest: Buffer.from(sha256, 'hex'), caller: { team, keyId: id }, goodBeforeMs, isRevoked: revoked }]
  })
}
