import { createHash } from 'node:crypto'
import type { Nanocredits } from '../nanocredits.js'

/** What a call is expected to cost at most: with less than this left, Segmind refuses it (SEGMIND.md, 406). */
export const ESTIMATE: Nanocredits = 2_000_000
const LEAST_COST = 1_400_000

/** The pretended account: a balance that goes down by what calls cost, and never below zero. */
export class Account {
  #balance: Nanocredits
  #held = 0
  #calls = 0

  constructor(balance: Nanocredits) {
    this.#balance = balance
  }

  /** What is left, not counting calls that are still running. */
  get balance(): Nanocredits {
    return this.#balance
  }

  /** Calls that were billed. */
  get calls(): number {
    return this.#calls
  }

  /** Holds the estimate for one call; answers whether there was enough left. Ends with `bill` or `release`. */
  hold(): boolean {
    if (this.#balance - this.#held < ESTIMATE) return false
    this.#held += ESTIMATE
    return true
  }

  bill(cost: Nanocredits): void {
    this.release()
    this.#balance -= cost
    this.#calls++
  }

  release(): void {
    this.#held -= ESTIMATE
  }
}

/** What a call costs, 0.0014–0.002 credits: the same question always costs the same, different ones differ. */
export function costOf(image: Buffer, question: string): Nanocredits {
  const digest = createHash('sha256').update(image).update(question).digest()
  return LEAST_COST + (digest.readUInt32BE(0) % (ESTIMATE - LEAST_COST + 1))
}
