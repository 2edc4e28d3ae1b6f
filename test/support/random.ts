/** A pseudorandom generator. Equal seeds give equal numbers. */
export interface Random {
  /** Returns a number from 0 (inclusive) to 1 (exclusive). */
  next(): number
  /** Returns an integer. Both ends are included. */
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(choices: readonly T[]): T
  /** Returns one of the names, with a probability proportional to its weight. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T
  /**
   * Returns a generator that depends on this seed and the name only, not on the numbers drawn so
   * far.
   */
  fork(name: string): Random
}

/** Creates a mulberry32 generator. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(next() * choices.length)] as T
  return {
    next,
    between: (low, high) => low + Math.floor(next() * (high - low + 1)),
    chance: probability => next() < probability,
    pick,
    weighted(weights) {
      const names = Object.keys(weights) as (keyof typeof weights)[]
      let left = next() * names.reduce((sum, name) => sum + weights[name], 0)
      for (const name of names) {
        left -= weights[name]
        if (left < 0) return name
      }
      return names[0] as keyof typeof weights
    },
    fork: name => randomFrom(hashOf(name, seed)),
  }
}

/** Computes FNV-1a over the name, starting from the seed. */
function hashOf(name: string, seed: number): number {
  let hash = (2166136261 ^ seed) >>> 0
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619) >>> 0
  return hash
}
