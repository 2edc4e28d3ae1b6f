import { timingSafeEqual } from 'node:crypto'
import type { Authenticated, TeamEntry } from '../contracts/keys.js'
import type { Caller, Team } from '../contracts/types.js'
import { hashApiKey, partsOf } from './api-key.js'
import { endOfDate } from './key-dates.js'

/** The teams and their keys. */
export interface TeamRegistry {
  authenticate(keyText: string | undefined, nowMs: number): Authenticated
  /** Teams with the budgets in effect at a time. Default: now. */
  teams(nowMs?: number): readonly Team[]
  /** Teams and keys as in the file. */
  keys(): readonly TeamEntry[]
}

export interface ReplaceableRegistry extends TeamRegistry {
  /** Replaces all teams and keys. */
  replace(entries: readonly TeamEntry[]): void
}

interface KnownKey {
  digest: Buffer
  caller: Caller
  expiresAtMs: number
  isRevoked: boolean
}

/**
 * Creates the registry of a set of teams. Compares keys by SHA-256 in constant time, and a key with
 * an unknown id too, so that timing reveals neither ids nor parts of keys. The kind of a key is
 * part of its text and so of its hash.
 */
export function createRegistry(initial: readonly TeamEntry[]): ReplaceableRegistry {
  let entries = initial
  let keys = new Map(entries.flatMap(knownKeys))
  return {
    replace(next) {
      entries = next
      keys = new Map(next.flatMap(knownKeys))
    },
    teams: (nowMs = Date.now()) => entries.map(entry => withCurrentBudget(entry.team, nowMs)),
    keys: () => entries,
    authenticate(keyText = '', nowMs) {
      const digest = hashApiKey(keyText)
      const parsed = partsOf(keyText)
      const key = keys.get(parsed?.id ?? '')
      const isEqual = timingSafeEqual(digest, key?.digest ?? UNKNOWN_KEY_DIGEST)
      if (!key || !isEqual || key.isRevoked || nowMs >= key.expiresAtMs) return { refused: 'unauthorized' }
      if (key.caller.team.disabled) return { refused: 'disabled' }
      const caller = key.caller.team.override
        ? { ...key.caller, team: withCurrentBudget(key.caller.team, nowMs) }
        : key.caller
      return { caller: parsed?.isTest ? { ...caller, isTest: true } : caller }
    },
  }
}

/**
 * Returns the team with the budget in effect at a time: an active override replaces the amounts it
 * contains.
 */
function withCurrentBudget(team: Team, nowMs: number): Team {
  const { override, budget } = team
  return override && nowMs < override.until ? { ...team, budget: { ...budget, ...override.budget } } : team
}

const UNKNOWN_KEY_DIGEST = Buffer.alloc(32)

function knownKeys({ team, keys }: TeamEntry): [id: string, key: KnownKey][] {
  return keys.map(({ id, sha256, expires, revoked }) => {
    const expiresAtMs = expires === undefined ? Number.POSITIVE_INFINITY : (endOfDate(expires) ?? 0)
    return [id, { digest: Buffer.from(sha256, 'hex'), caller: { team, keyId: id }, expiresAtMs, isRevoked: revoked }]
  })
}
