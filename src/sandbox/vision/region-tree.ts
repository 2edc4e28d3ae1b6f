import { addPatch, type Border, difference, type Patch, type PatchGraph, PIXELS } from './patches.js'

/** Returns the cost of joining two neighbours. The pair of the lowest cost joins first. */
type JoinCost = (a: Patch, b: Patch, strength: number, pixels: number) => number

/** Join costs of the region trees. Each tree finds objects that another one misses. */
const JOIN_COSTS: readonly JoinCost[] = [
  (_, __, strength, pixels) => strength * pixels ** 0.3,
  (a, b, _, pixels) => difference(a, b) * pixels ** 0.15,
  (a, b, strength, pixels) => difference(a, b) * pixels ** 0.5 * (12 + strength),
]

/** A set of patches that may be an object. */
export interface Proposal {
  patch: Patch
  members: readonly number[]
}

interface Node extends Proposal {
  /** Empty after the node was joined to another one. */
  borders: Map<Node, Border>
}

interface Pair {
  cost: number
  nodes: readonly [Node, Node]
}

/** Returns the patches, and then the joins of each region tree. */
export function proposalsOf(graph: PatchGraph): Proposal[] {
  return JOIN_COSTS.flatMap((cost, tree) => joinAll(graph, cost).slice(tree && graph.patches.length))
}

/** Joins neighbouring patches until none are left. Returns the patches and then each join. */
function joinAll(graph: PatchGraph, joinCost: JoinCost): Proposal[] {
  const nodes: Node[] = graph.patches.map((patch, index) => ({ patch, members: [index], borders: new Map() }))
  /** In falling order of cost. */
  const queue: Pair[] = []
  const connect = (a: Node, b: Node, border: Border) => {
    a.borders.set(b, border)
    b.borders.set(a, border)
    const pixels = Math.min(a.patch[PIXELS] ?? 0, b.patch[PIXELS] ?? 0)
    const cost = joinCost(a.patch, b.patch, border.strength / border.length, pixels)
    let [low, high] = [0, queue.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((queue[middle]?.cost ?? 0) > cost) low = middle + 1
      else high = middle
    }
    queue.splice(low, 0, { cost, nodes: [a, b] })
  }
  graph.borders.forEach((borders, index) => {
    for (const [other, border] of borders) {
      const [a, b] = [nodes[index], nodes[other]]
      if (a && b && index < other) connect(a, b, border)
    }
  })
  for (let pair = queue.pop(); pair; pair = queue.pop()) {
    const [a, b] = pair.nodes
    if (!a.borders.has(b)) continue
    const patch = a.patch.slice()
    addPatch(patch, b.patch)
    const joined: Node = { patch, members: [...a.members, ...b.members], borders: new Map() }
    nodes.push(joined)
    for (const [other, border] of takeBorders(a, b)) connect(joined, other, border)
  }
  return nodes
}

/** Removes the borders of two nodes. Returns those of the joined pair. */
function takeBorders(a: Node, b: Node): Map<Node, Border> {
  const joined = new Map<Node, Border>()
  for (const node of [a, b]) {
    for (const [other, { length, strength }] of node.borders) {
      other.borders.delete(node)
      if (other === a || other === b) continue
      const known = joined.get(other) ?? { length: 0, strength: 0 }
      joined.set(other, { length: known.length + length, strength: known.strength + strength })
    }
    node.borders.clear()
  }
  return joined
}
