import { createHash } from 'node:crypto'
import { type RolledUpCalls, StoreError } from '../contracts/store.js'

/** The mark that the roll-up leaves of one team's day, without its seal. */
export type Mark = Pick<RolledUpCalls, 'calls' | 'charged' | 'digest'>

/** Entries that one atomic step removes at most, so that it takes a few milliseconds. */
export const ROLL_UP_BATCH = 100

export const NO_MARK: Mark = { calls: 0, charged: 0, digest: '0'.repeat(40) }

/** Adds a removed call to a mark. */
export function withCall({ calls, charged, digest }: Mark, callId: string, cost: number): Mark {
  const sha1 = createHash('sha1').update(`${callId} ${cost}`).digest()
  const known = Buffer.from(digest, 'hex')
  return {
    calls: calls + 1,
    charged: charged + cost,
    digest: Buffer.from(sha1.map((byte, index) => byte ^ (known[index] ?? 0))).toString('hex'),
  }
}

/** Returns the checksum that is stored with a mark, and shows whether it was altered. */
export function sealOf(day: string, team: string, { calls, charged, digest }: Mark): string {
  return createHash('sha1').update(`${day} ${team} ${calls} ${charged} ${digest}`).digest('hex')
}

/** Returns the error of a step that would create an entry in a day that was rolled up. */
export function rolledUpError(day: string): StoreError {
  const detail = 'the step changes nothing, because it may have been booked before'
  return new StoreError(`the calls of ${day} were rolled up: ${detail}`, { mayHaveHappened: false, isFinal: true })
}
