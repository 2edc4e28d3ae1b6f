import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    exchange: Exchange
  }
}

/** One request and its answer. It is over once the answer is out or the connection is gone, whichever comes first. */
export interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly isOver: boolean
  /** Runs `work` once: when it is over, or now when it is over already. */
  whenOver(work: () => void): void
}

interface Connection {
  open: Set<OpenExchange>
  latest?: OpenExchange
  /** What waits for answers that are still due; asked again whenever one of them is out. */
  waiting?: () => void
}

/** The requests under way on each connection: there are several where a client does not wait for an answer before it sends the next request. */
export class Exchanges {
  readonly #connections = new WeakMap<Socket, Connection>()
  #underWay = 0

  /** Requests that are being received or answered. */
  get underWay(): number {
    return this.#underWay
  }

  begin(request: FastifyRequest, reply: FastifyReply): Exchange {
    const connection = this.#connectionOf(request.raw.socket)
    const exchange = new OpenExchange(request, reply)
    connection.open.add(exchange)
    connection.latest = exchange
    this.#underWay++
    exchange.whenOver(() => this.#underWay--)
    reply.raw.once('close', () => end(connection, exchange))
    return exchange
  }

  /**
   * Decides how a connection ends that can bring no further request. Answers that are still due go out first, unless `isGone`; after them, or
   * after an early answer to a request whose body will never be whole, nothing more is to be said: `close`. Otherwise `answer`, with that
   * request as `cut`, or without one where it is about no request.
   */
  onBroken(socket: Socket, broken: { isGone: boolean; answer(cut: Exchange | undefined): void; close(): void }): void {
    const connection = this.#connectionOf(socket)
    const { latest, open } = connection
    const cut = latest && !latest.request.raw.complete ? latest : undefined
    const isDue = [...open].some(exchange => exchange !== cut || exchange.reply.raw.headersSent)
    const hasWaited = connection.waiting !== undefined
    if (isDue && !broken.isGone) connection.waiting = () => this.onBroken(socket, broken)
    else if (isDue || (cut ? cut.isOver : hasWaited)) broken.close()
    else broken.answer(cut)
  }

  /** A pipelined answer never closes when its connection does before its turn: the socket tells, with one listener for all its requests. */
  #connectionOf(socket: Socket): Connection {
    const known = this.#connections.get(socket)
    if (known) return known
    const connection: Connection = { open: new Set() }
    this.#connections.set(socket, connection)
    socket.once('close', () => {
      for (const exchange of [...connection.open]) end(connection, exchange)
    })
    return connection
  }
}

class OpenExchange implements Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  isOver = false
  #works: (() => void)[] = []

  constructor(request: FastifyRequest, reply: FastifyReply) {
    this.request = request
    this.reply = reply
  }

  whenOver(work: () => void): void {
    if (this.isOver) work()
    else this.#works.push(work)
  }

  end(): void {
    this.isOver = true
    for (const work of this.#works.splice(0)) work()
  }
}

function end(connection: Connection, exchange: OpenExchange): void {
  if (!connection.open.delete(exchange)) return
  exchange.end()
  connection.waiting?.()
}
