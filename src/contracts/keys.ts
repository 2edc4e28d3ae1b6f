import type { Caller, Team } from './types.js'

/**
 * The caller that a key identifies, or the refusal. `unauthorized`: missing, mistyped, unknown,
 * revoked or expired, without distinction. `disabled`: a valid key of a disabled team.
 */
export type Authenticated = { caller: Caller } | { refused: 'unauthorized' | 'disabled' }

/** Key metadata. The key itself is not stored. Dates as written in the teams file. */
interface KeyMetadata {
  id: string
  created?: string
  expires?: string
  note?: string
  /** A test key. The prefix of the key says so as well. */
  test?: boolean
}

/** A key of the teams file. */
export interface TeamKey extends KeyMetadata {
  /** SHA-256 of the key: 64 lower-case hex digits. */
  sha256: string
  revoked: boolean
}

/** A team of the teams file. */
export interface TeamEntry {
  team: Team
  keys: readonly TeamKey[]
}

/** Key metadata with the current state, as operators see it. */
export interface ListedKey extends KeyMetadata {
  state: 'active' | 'expired' | 'revoked' | 'team disabled'
}

export interface ListedTeam {
  team: Team
  keys: ListedKey[]
}

export interface CreateKeyInput {
  team: string
  /** Name of the team, used when it is new. */
  name?: string | undefined
  expires?: string | undefined
  note?: string | undefined
  isTest: boolean
}

/** A new key. `text` is the key itself and is returned only once. */
export interface CreatedKey {
  id: string
  text: string
  team: string
  expires?: string
}

/** A new key that replaces another one, which stays valid until `oldEnds`. */
export interface RotatedKey extends CreatedKey {
  replaces: string
  oldEnds: string
}

export type RevokeOutcome = 'revoked' | 'revoked before' | 'unknown'

/** A temporary budget: amounts in decimal credits, `until` in ISO 8601. */
export interface BudgetOverride {
  daily?: string
  monthly?: string
  until: string
}
