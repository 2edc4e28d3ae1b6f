import fc from 'fast-check'
import t from 'tap'
import { MinCut } from '../../../src/sandbox/vision/min-cut.js'

interface Graph {
  ties: number[]
  links: { a: number; b: number; cost: number }[]
}

const graphs: fc.Arbitrary<Graph> = fc.integer({ min: 1, max: 7 }).chain(nodes => {
  const node = fc.nat(nodes - 1)
  return fc.record({
    ties: fc.array(fc.integer({ min: -9, max: 9 }), { minLength: nodes, maxLength: nodes }),
    links: fc.array(fc.record({ a: node, b: node, cost: fc.nat(9) }), { maxLength: 14 }),
  })
})

/** Adds up the ties and links that a division violates. */
function costOf({ ties, links }: Graph, inside: (node: number) => boolean): number {
  const violated = ties.map((tie, node) => (inside(node) ? Math.max(0, -tie) : Math.max(0, tie)))
  const cut = links.map(({ a, b, cost }) => (inside(a) === inside(b) ? 0 : cost))
  return [...violated, ...cut].reduce((sum, cost) => sum + cost, 0)
}

t.test('no other division of the nodes is cheaper', async () => {
  fc.assert(
    fc.property(graphs, graph => {
      const cut = new MinCut(graph.ties.length)
      graph.ties.forEach((tie, node) => {
        cut.tie(node, tie)
      })
      for (const { a, b, cost } of graph.links) cut.link(a, b, cost)
      const inside = cut.solve()
      const found = costOf(graph, node => inside[node] === 1)
      for (let division = 0; division < 2 ** graph.ties.length; division++) {
        if (costOf(graph, node => ((division >> node) & 1) === 1) < found) return false
      }
      return true
    }),
  )
})
