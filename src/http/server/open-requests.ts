import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    lifetime: RequestLifetime
  }
}

/**
 * Lifetime of one request. It ends when the response is sent or the connection is gone, whichever
 * comes first.
 */
export interface RequestLifetime {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly hasEnded: boolean
  /** Runs `work` once: when the request ends, or now if it has ended already. */
  onEnd(work: () => void): void
}

interface OpenRequest extends RequestLifetime {
  hasEnded: boolean
  /** Runs when the request ends. */
  works: (() => void)[]
}

interface Connection {
  open: OpenRequest[]
  latest?: OpenRequest
  /** Called after each response while a broken connection waits for its last one. */
  waiting?: () => void
}

/** Requests in flight, by connection. A connection has several when its client pipelines. */
export class OpenRequests {
  readonly #connections = new WeakMap<Socket, Connection>()
  #count = 0

  get count(): number {
    return this.#count
  }

  begin(request: FastifyRequest, reply: FastifyReply): RequestLifetime {
    const connection = this.#connectionOf(request.raw.socket)
    const opened: OpenRequest = {
      request,
      reply,
      hasEnded: false,
      works: [],
      onEnd(work) {
        if (opened.hasEnded) work()
        else opened.works.push(work)
      },
    }
    connection.open.push(opened)
    connection.latest = opened
    this.#count++
    reply.raw.on('close', () => this.#end(connection, opened))
    return opened
  }

  /**
   * Ends a connection that can bring no further request. Pending responses are sent first, unless
   * `isGone`. After them, or after an early response to a request whose body never arrived in full,
   * the connection is closed: `close`. Otherwise `answer` is called, with the request that was cut
   * off, or without one when the failure belongs to no request.
   */
  onBroken(
    socket: Socket,
    broken: { isGone: boolean; answer(cut: RequestLifetime | undefined): void; close(): void },
  ): void {
    const connection = this.#connectionOf(socket)
    const { latest, open } = connection
    const cut = latest && !latest.request.raw.complete ? latest : undefined
    const isPending = open.some(one => one !== cut || one.reply.raw.headersSent)
    const hasWaited = connection.waiting !== undefined
    if (isPending && !broken.isGone) connection.waiting = () => this.onBroken(socket, broken)
    else if (isPending || (cut ? cut.hasEnded : hasWaited)) broken.close()
    else broken.answer(cut)
  }

  /**
   * A pipelined response emits no `close` when the connection closes before its turn. So the socket
   * ends all requests, with one listener.
   */
  #connectionOf(socket: Socket): Connection {
    const known = this.#connections.get(socket)
    if (known) return known
    const connection: Connection = { open: [] }
    this.#connections.set(socket, connection)
    socket.once('close', () => {
      for (const opened of [...connection.open]) this.#end(connection, opened)
    })
    return connection
  }

  #end(connection: Connection, opened: OpenRequest): void {
    const at = connection.open.indexOf(opened)
    if (at < 0) return
    connection.open.splice(at, 1)
    this.#count--
    opened.hasEnded = true
    for (const work of opened.works) work()
    opened.works = []
    connection.waiting?.()
  }
}
