import type { Answer } from '../support/gateway/raw-client.js'
import type { Random } from '../support/random.js'
import type { FuzzRequest } from './wire.js'
import type { World } from './world.js'

/** One case: what it may draw from, and how it reports what is wrong. */
export interface Case {
  seed: number
  random: Random
  world: World
  /**
   * Sends a request and checks its answer against the contract. `mayFail`: codes that are no
   * problem although their status is 500 or more. Undefined without an answer.
   */
  send(request: FuzzRequest, mayFail?: readonly string[]): Promise<Answer | undefined>
  /** Records a problem of the last request unless `isGood`. */
  check(isGood: boolean, problem: string): void
}
