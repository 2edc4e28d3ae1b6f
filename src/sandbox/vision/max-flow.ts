/**
 * The cheapest way to split nodes in two (minimum cut), found by Dinic's algorithm with many sources and sinks.
 * Capacities are whole numbers, so that the answer is the same on every machine.
 */
export class Cut {
  /** What ties a node to the inside (positive) or to the outside (negative). */
  readonly #pull: Int32Array
  readonly #first: Int32Array
  readonly #next: Int32Array
  readonly #to: Int32Array
  readonly #room: Int32Array
  readonly #level: Int32Array
  readonly #turn: Int32Array
  #arcs = 0

  constructor(nodes: number, links: number) {
    this.#pull = new Int32Array(nodes)
    this.#first = new Int32Array(nodes).fill(-1)
    this.#next = new Int32Array(2 * links)
    this.#to = new Int32Array(2 * links)
    this.#room = new Int32Array(2 * links)
    this.#level = new Int32Array(nodes)
    this.#turn = new Int32Array(nodes)
  }

  /** Adds to what ties a node to the inside; negative ties it to the outside. */
  pull(node: number, strength: number): void {
    this.#pull[node] = (this.#pull[node] ?? 0) + Math.round(strength)
  }

  /** Ties two nodes to each other: what it costs to part them. */
  link(a: number, b: number, strength: number): void {
    this.#arc(a, b, Math.round(strength))
    this.#arc(b, a, Math.round(strength))
  }

  /** Answers 1 for every node on the inside. */
  solve(): Uint8Array {
    while (this.#layer()) {
      this.#turn.set(this.#first)
      for (let node = 0; node < this.#pull.length; node++) {
        if ((this.#pull[node] ?? 0) > 0) this.#drain(node)
      }
    }
    return Uint8Array.from(this.#level, level => (level >= 0 ? 1 : 0))
  }

  #arc(from: number, to: number, room: number): void {
    this.#to[this.#arcs] = to
    this.#room[this.#arcs] = room
    this.#next[this.#arcs] = this.#first[from] ?? -1
    this.#first[from] = this.#arcs++
  }

  /** Numbers every node by its distance from the inside, -1 where it cannot be reached; tells whether the outside was. */
  #layer(): boolean {
    this.#level.fill(-1)
    const queue = new Int32Array(this.#level.length)
    let filled = 0
    this.#pull.forEach((pull, node) => {
      if (pull <= 0) return
      this.#level[node] = 0
      queue[filled++] = node
    })
    let reached = false
    for (let done = 0; done < filled; done++) {
      const node = queue[done] ?? 0
      if ((this.#pull[node] ?? 0) < 0) reached = true
      for (let arc = this.#first[node] ?? -1; arc >= 0; arc = this.#next[arc] ?? -1) {
        const other = this.#to[arc] ?? 0
        if ((this.#room[arc] ?? 0) === 0 || (this.#level[other] ?? 0) >= 0) continue
        this.#level[other] = (this.#level[node] ?? 0) + 1
        queue[filled++] = other
      }
    }
    return reached
  }

  /** Sends what a source has left along the layers until it is empty or nothing more gets through. */
  #drain(source: number): void {
    const path: number[] = []
    let node = source
    while ((this.#pull[source] ?? 0) > 0) {
      if ((this.#pull[node] ?? 0) < 0) {
        this.#send(source, node, path)
        path.length = 0
        node = source
        continue
      }
      const arc = this.#forward(node)
      if (arc >= 0) {
        path.push(arc)
        node = this.#to[arc] ?? 0
        continue
      }
      const back = path.pop()
      if (back === undefined) return
      node = this.#to[back ^ 1] ?? 0
      this.#turn[node] = this.#next[this.#turn[node] ?? 0] ?? -1
    }
  }

  #forward(node: number): number {
    const below = (this.#level[node] ?? 0) + 1
    let arc = this.#turn[node] ?? -1
    while (arc >= 0 && ((this.#room[arc] ?? 0) === 0 || (this.#level[this.#to[arc] ?? 0] ?? -1) !== below)) {
      arc = this.#next[arc] ?? -1
    }
    this.#turn[node] = arc
    return arc
  }

  #send(source: number, sink: number, path: readonly number[]): void {
    let amount = Math.min(this.#pull[source] ?? 0, -(this.#pull[sink] ?? 0))
    for (const arc of path) amount = Math.min(amount, this.#room[arc] ?? 0)
    for (const arc of path) {
      this.#room[arc] = (this.#room[arc] ?? 0) - amount
      this.#room[arc ^ 1] = (this.#room[arc ^ 1] ?? 0) + amount
    }
    this.#pull[source] = (this.#pull[source] ?? 0) - amount
    this.#pull[sink] = (this.#pull[sink] ?? 0) + amount
  }
}
