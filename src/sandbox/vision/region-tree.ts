import { type Border, difference, joinPatches, type Patch, type PatchGraph } from './patches.js'

/** A set of patches that may be a thing: one node of a region tree. */
export interface Proposal {
  patch: Patch
  /** The patches it is made of. */
  members: Int32Array
}

/** Which pair joins first: the smaller, the sooner. */
export type JoinCost = (a: Patch, b: Patch, border: Border) => number

/** Ways to grow a tree; each finds things another misses. */
export const JOIN_COSTS: readonly JoinCost[] = [
  (a, b, border) => difference(a, b) * (8 + border.strength / border.length) * Math.min(a.pixels, b.pixels) ** 0.25,
  (a, b, border) => (border.strength / border.length) * Math.min(a.pixels, b.pixels) ** 0.3,
  (a, b) => difference(a, b) * Math.min(a.pixels, b.pixels) ** 0.15,
  (a, b, border) => difference(a, b) * Math.min(a.pixels, b.pixels) ** 0.5 * (12 + border.strength / border.length),
]

interface Node extends Proposal {
  borders: Map<number, Border>
  alive: boolean
}

interface Pair {
  cost: number
  a: number
  b: number
}

/** Joins neighbouring patches, the likest first, until one is left; answers every set met on the way. */
export function proposalsOf(graph: PatchGraph, joinCost: JoinCost): Proposal[] {
  const nodes: Node[] = graph.patches.map((patch, index) => ({
    patch,
    members: Int32Array.of(index),
    borders: new Map(graph.borders[index]),
    alive: true,
  }))
  const queue = new PairQueue()
  const offer = (a: number, b: number, border: Border) => {
    const [first, second] = [nodes[a], nodes[b]]
    if (first && second) queue.push({ cost: joinCost(first.patch, second.patch, border), a, b })
  }
  nodes.forEach((node, a) => {
    for (const [b, border] of node.borders) if (a < b) offer(a, b, border)
  })
  for (let pair = queue.pop(); pair; pair = queue.pop()) {
    const [a, b] = [nodes[pair.a], nodes[pair.b]]
    if (!a?.alive || !b?.alive) continue
    const joined = join(nodes, pair, a, b)
    for (const [other, border] of joined.borders) offer(other, nodes.length - 1, border)
  }
  return nodes
}

function join(nodes: Node[], pair: Pair, a: Node, b: Node): Node {
  const index = nodes.length
  const members = new Int32Array(a.members.length + b.members.length)
  members.set(a.members)
  members.set(b.members, a.members.length)
  const joined: Node = { patch: joinPatches(a.patch, b.patch), members, borders: new Map(), alive: true }
  for (const borders of [a.borders, b.borders]) {
    for (const [other, border] of borders) {
      if (other === pair.a || other === pair.b) continue
      const known = joined.borders.get(other)
      joined.borders.set(other, {
        length: border.length + (known?.length ?? 0),
        strength: border.strength + (known?.strength ?? 0),
      })
    }
  }
  for (const [other, border] of joined.borders) {
    const neighbour = nodes[other]
    neighbour?.borders.delete(pair.a)
    neighbour?.borders.delete(pair.b)
    neighbour?.borders.set(index, border)
  }
  a.alive = false
  b.alive = false
  nodes.push(joined)
  return joined
}

/** A binary heap, the cheapest pair first; equal costs in the order of their numbers, so that the tree is always the same. */
class PairQueue {
  readonly #heap: Pair[] = []

  push(pair: Pair): void {
    this.#heap.push(pair)
    let at = this.#heap.length - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!this.#before(at, above)) break
      this.#swap(at, above)
      at = above
    }
  }

  pop(): Pair | undefined {
    const top = this.#heap[0]
    const last = this.#heap.pop()
    if (last && this.#heap.length > 0) {
      this.#heap[0] = last
      this.#sink()
    }
    return top
  }

  #sink(): void {
    let at = 0
    for (;;) {
      let least = at
      for (const below of [2 * at + 1, 2 * at + 2]) {
        if (below < this.#heap.length && this.#before(below, least)) least = below
      }
      if (least === at) return
      this.#swap(at, least)
      at = least
    }
  }

  #before(left: number, right: number): boolean {
    const [p, q] = [this.#heap[left], this.#heap[right]]
    if (!p || !q) return false
    return p.cost !== q.cost ? p.cost < q.cost : p.a !== q.a ? p.a < q.a : p.b < q.b
  }

  #swap(left: number, right: number): void {
    const [p, q] = [this.#heap[left], this.#heap[right]]
    if (!p || !q) return
    this.#heap[left] = q
    this.#heap[right] = p
  }
}
