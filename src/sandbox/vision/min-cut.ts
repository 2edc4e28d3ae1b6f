/**
 * Minimum cut of a graph, by Dinic's algorithm with many sources and sinks. Divides the nodes into
 * inside and outside. Capacities are integers, so that the result is reproducible.
 */
export class MinCut {
  /** Positive values tie a node to the inside, negative ones to the outside. */
  readonly #ties: Int32Array
  /** First arc of each node, or −1. The reverse of arc `n` is `n ^ 1`. */
  readonly #firstArcs: Int32Array
  /** The next arc of the same node, or −1. */
  readonly #nextArcs: number[] = []
  readonly #targets: number[] = []
  readonly #capacities: number[] = []
  /** First arc of each node that may still carry flow. */
  readonly #openArcs: Int32Array
  readonly #levels: Int32Array

  constructor(nodes: number) {
    this.#ties = new Int32Array(nodes)
    this.#firstArcs = new Int32Array(nodes).fill(-1)
    this.#openArcs = new Int32Array(nodes)
    this.#levels = new Int32Array(nodes)
  }

  /** Adds a cost for a node on the outside, or on the inside if it is negative. */
  tie(node: number, cost: number): void {
    this.#ties[node] = (this.#ties[node] ?? 0) + Math.round(cost)
  }

  /** Adds a cost for two nodes on different sides. */
  link(a: number, b: number, cost: number): void {
    const capacity = Math.round(cost)
    if (capacity === 0) return
    this.#capacities.push(capacity, capacity)
    this.#nextArcs.push(this.#firstArcs[a] ?? -1)
    this.#firstArcs[a] = this.#targets.push(b) - 1
    this.#nextArcs.push(this.#firstArcs[b] ?? -1)
    this.#firstArcs[b] = this.#targets.push(a) - 1
  }

  /** Returns 1 for each node on the inside. */
  solve(): Uint8Array {
    const sources: number[] = []
    for (const [node, tie] of this.#ties.entries()) if (tie > 0) sources.push(node)
    while (this.#findLevels(sources)) {
      this.#openArcs.set(this.#firstArcs)
      for (const source of sources) {
        for (let sent = 1; sent > 0; ) {
          sent = this.#send(source, this.#ties[source] ?? 0)
          this.#ties[source] = (this.#ties[source] ?? 0) - sent
        }
      }
    }
    return new Uint8Array(this.#levels.map(level => (level >= 0 ? 1 : 0)))
  }

  /**
   * Numbers the nodes by their distance from a source, or −1. Returns whether a sink is reachable.
   */
  #findLevels(sources: number[]): boolean {
    const queue = sources.filter(node => (this.#ties[node] ?? 0) > 0)
    this.#levels.fill(-1)
    for (const node of queue) this.#levels[node] = 0
    let isSinkReached = false
    for (const node of queue) {
      if ((this.#ties[node] ?? 0) < 0) isSinkReached = true
      for (let arc = this.#firstArcs[node] ?? -1; arc >= 0; arc = this.#nextArcs[arc] ?? -1) {
        const target = this.#targets[arc] ?? 0
        if (this.#capacities[arc] === 0 || (this.#levels[target] ?? 0) >= 0) continue
        this.#levels[target] = (this.#levels[node] ?? 0) + 1
        queue.push(target)
      }
    }
    return isSinkReached
  }

  /** Sends up to `limit` along one path of rising levels to a sink. Returns the amount. */
  #send(node: number, limit: number): number {
    const tie = this.#ties[node] ?? 0
    if (limit === 0) return 0
    if (tie < 0) {
      const amount = Math.min(limit, -tie)
      this.#ties[node] = tie + amount
      return amount
    }
    for (let arc = this.#openArcs[node] ?? -1; arc >= 0; arc = this.#nextArcs[arc] ?? -1) {
      this.#openArcs[node] = arc
      const target = this.#targets[arc] ?? 0
      const capacity = this.#capacities[arc] ?? 0
      if (capacity === 0 || this.#levels[target] !== (this.#levels[node] ?? 0) + 1) continue
      const amount = this.#send(target, Math.min(limit, capacity))
      if (amount === 0) continue
      this.#capacities[arc] = capacity - amount
      this.#capacities[arc ^ 1] = (this.#capacities[arc ^ 1] ?? 0) + amount
      return amount
    }
    this.#openArcs[node] = -1
    return 0
  }
}
