/** Connection of two nodes. A heavy one keeps them on the same side. */
export interface Link {
  a: number
  b: number
  weight: number
}

const ROUNDS = 40

/**
 * Divides nodes into inside (1) and outside (0): a random walker with priors (Grady, 2005), solved by
 * Jacobi iteration. Positive `evidence` draws a node to the inside, negative to the outside.
 */
export function divide(evidence: Float32Array, links: readonly Link[]): Uint8Array {
  const totals = evidence.map(Math.abs)
  for (const { a, b, weight } of links) {
    totals[a] = (totals[a] ?? 0) + weight
    totals[b] = (totals[b] ?? 0) + weight
  }
  const nodes = [...new Set(links.flatMap(({ a, b }) => [a, b]))]
  const sides = evidence.map(Math.sign)
  const sums = new Float32Array(evidence.length)
  for (let round = 0; round < ROUNDS; round++) {
    for (const node of nodes) sums[node] = evidence[node] ?? 0
    for (const { a, b, weight } of links) {
      sums[a] = (sums[a] ?? 0) + weight * (sides[b] ?? 0)
      sums[b] = (sums[b] ?? 0) + weight * (sides[a] ?? 0)
    }
    for (const node of nodes) sides[node] = (sums[node] ?? 0) / (totals[node] || 1)
  }
  return new Uint8Array(sides.map(side => (side > 0 ? 1 : 0)))
}
