import { type Border, difference, joinPatches, type Patch, type PatchGraph } from './patches.js'

/** A set of patches that may be an object. */
export interface Proposal {
  patch: Patch
  members: readonly number[]
}

/** Returns the cost of joining two neighbours. The pair of the lowest cost joins first. */
type JoinCost = (a: Patch, b: Patch, strength: number) => number

/** Join costs of the region trees. Each tree finds objects that another one misses. */
export const JOIN_COSTS: readonly JoinCost[] = [
  (a, b, strength) => difference(a, b) * (8 + strength) * Math.min(a.pixels, b.pixels) ** 0.25,
  (a, b, strength) => strength * Math.min(a.pixels, b.pixels) ** 0.3,
  (a, b) => difference(a, b) * Math.min(a.pixels, b.pixels) ** 0.15,
  (a, b, strength) => difference(a, b) * Math.min(a.pixels, b.pixels) ** 0.5 * (12 + strength),
]

interface Node extends Proposal {
  /** Empty after the node was joined to another one. */
  borders: Map<number, Border>
  isJoined: boolean
}

interface Pair {
  cost: number
  a: number
  b: number
}

/** Joins neighbouring patches until none are left. Returns the patches and then each join. */
export function proposalsOf(graph: PatchGraph, joinCost: JoinCost): Proposal[] {
  const nodes: Node[] = graph.patches.map((patch, index) => {
    return { patch, members: [index], borders: new Map(graph.borders[index]), isJoined: false }
  })
  const queue = new PairQueue()
  const offer = (a: number, b: number, border: Border) => {
    const [first, second] = [nodes[a], nodes[b]]
    if (!first || !second) return
    queue.push({ cost: joinCost(first.patch, second.patch, border.strength / border.length), a, b })
  }
  nodes.forEach((node, a) => {
    for (const [b, border] of node.borders) if (a < b) offer(a, b, border)
  })
  for (let pair = queue.pop(); pair; pair = queue.pop()) {
    const [a, b] = [nodes[pair.a], nodes[pair.b]]
    if (!a || !b || a.isJoined || b.isJoined) continue
    const borders = joinBorders(nodes, pair, a, b)
    a.isJoined = true
    b.isJoined = true
    nodes.push({
      patch: joinPatches(a.patch, b.patch),
      members: [...a.members, ...b.members],
      borders,
      isJoined: false,
    })
    for (const [other, border] of borders) offer(other, nodes.length - 1, border)
  }
  return nodes
}

/** Returns the borders of a joined pair and updates its neighbours. */
function joinBorders(nodes: Node[], pair: Pair, a: Node, b: Node): Map<number, Border> {
  const borders = new Map<number, Border>()
  for (const side of [a.borders, b.borders]) {
    for (const [other, { length, strength }] of side) {
      if (other === pair.a || other === pair.b) continue
      const known = borders.get(other)
      const border = { length: length + (known?.length ?? 0), strength: strength + (known?.strength ?? 0) }
      borders.set(other, border)
      const neighbour = nodes[other]?.borders
      neighbour?.delete(pair.a)
      neighbour?.delete(pair.b)
      neighbour?.set(nodes.length, border)
    }
  }
  return borders
}

/**
 * Binary heap. Pairs of equal cost are ordered by their indexes, so that the tree is reproducible.
 */
class PairQueue {
  readonly #heap: Pair[] = []

  push(pair: Pair): void {
    let index = this.#heap.push(pair) - 1
    for (let above = (index - 1) >> 1; index > 0 && this.#isBefore(pair, above); above = (index - 1) >> 1) {
      this.#heap[index] = this.#heap[above] ?? pair
      index = above
    }
    this.#heap[index] = pair
  }

  pop(): Pair | undefined {
    const top = this.#heap[0]
    const last = this.#heap.pop()
    if (!last || this.#heap.length === 0) return top
    let index = 0
    for (let below = 1; below < this.#heap.length; below = 2 * index + 1) {
      const right = this.#heap[below + 1]
      if (right && this.#isBefore(right, below)) below++
      if (!this.#heap[below] || this.#isBefore(last, below)) break
      this.#heap[index] = this.#heap[below] ?? last
      index = below
    }
    this.#heap[index] = last
    return top
  }

  #isBefore(pair: Pair, index: number): boolean {
    const other = this.#heap[index] ?? pair
    return (pair.cost - other.cost || pair.a - other.a || pair.b - other.b) < 0
  }
}
