import fc from 'fast-check'
import t from 'tap'
import { Cut } from '../../../src/sandbox/vision/max-flow.js'

interface Network {
  pulls: number[]
  links: { a: number; b: number; strength: number }[]
}

const networks: fc.Arbitrary<Network> = fc.integer({ min: 1, max: 7 }).chain(nodes => {
  const node = fc.nat(nodes - 1)
  return fc.record({
    pulls: fc.array(fc.integer({ min: -9, max: 9 }), { minLength: nodes, maxLength: nodes }),
    links: fc.array(fc.record({ a: node, b: node, strength: fc.nat(9) }), { maxLength: 14 }),
  })
})

/** What a split costs: every pull it goes against and every link it parts. */
function costOf({ pulls, links }: Network, inside: (node: number) => boolean): number {
  const against = pulls.map((pull, node) => (inside(node) ? Math.max(0, -pull) : Math.max(0, pull)))
  const parted = links.map(({ a, b, strength }) => (inside(a) === inside(b) ? 0 : strength))
  return [...against, ...parted].reduce((sum, cost) => sum + cost, 0)
}

t.test('no other split of a network is cheaper', async () => {
  fc.assert(
    fc.property(networks, network => {
      const cut = new Cut(network.pulls.length, network.links.length)
      network.pulls.forEach((pull, node) => {
        cut.pull(node, pull)
      })
      for (const { a, b, strength } of network.links) cut.link(a, b, strength)
      const inside = cut.solve()
      const found = costOf(network, node => inside[node] === 1)
      for (let split = 0; split < 2 ** network.pulls.length; split++) {
        if (costOf(network, node => ((split >> node) & 1) === 1) < found) return false
      }
      return true
    }),
  )
})
