import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../../contracts/clock.js'

export interface ConnectionsOptions {
  /** `MAX_CONNECTIONS`, lowered to what the process may open; `0` = no limit. */
  max: number
  /** `MAX_CONNECTIONS_PER_ADDRESS`; `0` = no limit. */
  maxPerAddress: number
  /** Trusted proxies carry the connections of many clients, so no limit per address applies. */
  isTrusted(address: string): boolean
  /** Milliseconds, monotonic. Default: `performance.now()`. */
  now?: Clock
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

interface Connection {
  socket: Socket
  address: string
  /** True once a request brought an accepted key. */
  isKeyed: boolean
  /** Requests passed to their handlers, without a complete response. */
  running: number
  waiting: (() => void)[]
  latest?: IncomingMessage
  /** The latest response that announced the shorter idle time. */
  keyless?: ServerResponse
  /** Bytes received when they last changed, and when (`performance.now()`). */
  bytesRead: number
  activeAt: number
  /** Start of the interval over which the rate of the latest body is measured. */
  body?: { request: IncomingMessage; at: number; bytes: number; isGrace: boolean }
  /** End of the latest response whose request has not arrived in full. */
  answeredAt?: number
}

/** Requests of one connection that are handled at once. A client that pipelines more must wait. */
const MAX_RUNNING = 4
/**
 * Pipelined requests that wait. Node parses all requests of a chunk at once, so one chunk of 64 KiB
 * may bring thousands. Every connection may hold a few; all together are limited as well.
 */
const WAITING_PER_CONNECTION = 16
const MAX_WAITING = 8_192

const CHECK_EVERY_MS = 1_000
/** Time in which the headers of a request must arrive. */
const HEADERS_TIMEOUT_MS = 15_000
/**
 * Longer than load balancers usually keep their side open, so that they never send into a closing
 * connection.
 */
const KEEP_ALIVE_TIMEOUT_MS = 75_000
/** The same before the first accepted key. */
const KEYLESS_IDLE_MS = 10_000
/** Time in which a client may reuse such a connection: silence is noticed up to a second late. */
const KEYLESS_REUSE_MS = KEYLESS_IDLE_MS - CHECK_EVERY_MS
/** Time in which a response must make progress. */
const WRITE_TIMEOUT_MS = 60_000
/** Least bytes of a body in each interval; the first interval is not measured. */
const BODY_INTERVAL_MS = 10_000
const BODY_BYTES = 10 * 16 * 1024
/** Time for the rest of a body whose request is already answered. */
const LINGER_MS = 10_000

/**
 * Limits what connections can take from others: their number, the requests of one, the time of a
 * header, a body, a response and of silence (docs/reference.md, POST /segment).
 */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #bySocket = new Map<Socket, Connection>()
  readonly #byAddress = new Map<string, Set<Connection>>()
  /** Connections without an accepted key, in the order of their last activity. */
  readonly #keyless = new Set<Connection>()
  readonly #now: Clock
  #waiting = 0
  #endSlowUpload = (socket: Socket): void => void socket.destroy()

  constructor(options: ConnectionsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Counts open connections by whether they brought an accepted key. */
  count(): { authenticated: number; anonymous: number } {
    const anonymous = this.#keyless.size
    return { authenticated: this.#bySocket.size - anonymous, anonymous }
  }

  /** Sets the limits of a server before it listens. `endSlowUpload` answers a body that is too slow. */
  guard(server: Server, endSlowUpload: (socket: Socket) => void): void {
    this.#endSlowUpload = endSlowUpload
    server.headersTimeout = HEADERS_TIMEOUT_MS
    // Node drops headers beyond a count without a word, and with them `only-if-cached`. Their size is bounded.
    server.maxHeadersCount = 0
    // Bodies are limited by their rate, not by their time.
    server.requestTimeout = 0
    server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS
    server.on('connection', socket => this.#open(socket))
    server.setTimeout(WRITE_TIMEOUT_MS, socket => this.#endSilent(socket))
    const timer = setInterval(() => this.check(), CHECK_EVERY_MS).unref()
    server.once('close', () => clearInterval(timer))
  }

  /**
   * Passes a request to its handler, once fewer than `MAX_RUNNING` requests of its connection are
   * running. The connection is not read while requests wait.
   */
  readonly dispatch = (request: IncomingMessage, response: ServerResponse, handle: Handler): void => {
    const connection = this.#bySocket.get(request.socket)
    if (!connection || request.socket.destroyed) return
    connection.latest = request
    const { waiting, socket } = connection
    if (connection.running < MAX_RUNNING) this.#run(connection, request, response, handle)
    else if (waiting.length >= WAITING_PER_CONNECTION && this.#waiting >= MAX_WAITING) socket.destroy()
    else {
      waiting.push(() => this.#run(connection, request, response, handle))
      this.#waiting++
      socket.pause()
    }
  }

  #run(connection: Connection, request: IncomingMessage, response: ServerResponse, handle: Handler): void {
    connection.running++
    if (!connection.isKeyed) connection.keyless = announceIdle(response, KEYLESS_REUSE_MS)
    response.on('close', () => this.#next(connection, request))
    handle(request, response)
  }

  /** Records that a request of this connection brought an accepted key. */
  accept(socket: Socket): void {
    const connection = this.#bySocket.get(socket)
    if (!connection || connection.isKeyed) return
    connection.isKeyed = true
    if (connection.keyless) announceIdle(connection.keyless, KEEP_ALIVE_TIMEOUT_MS)
    // The response would keep its request, and with it an upload.
    delete connection.keyless
    this.#keyless.delete(connection)
  }

  /** Ends the connections that exceed a time limit. */
  check(): void {
    const now = this.#now()
    for (const connection of this.#bySocket.values()) {
      this.#noteActivity(connection, now)
      const { socket, running, latest, answeredAt = now } = connection
      const isReceiving = latest !== undefined && !latest.complete
      if (running > 0 && isReceiving && isTooSlow(connection, latest, now)) this.#endSlowUpload(socket)
      else if (running === 0 && isReceiving && now - answeredAt >= LINGER_MS) socket.destroy()
      else if (!connection.isKeyed && running === 0 && now - connection.activeAt >= KEYLESS_IDLE_MS) socket.destroy()
    }
  }

  #open(socket: Socket): void {
    const address = socket.remoteAddress ?? ''
    if (!this.#makeRoom(address)) return void socket.destroy()
    const silent = { isKeyed: false, running: 0, waiting: [], bytesRead: 0, activeAt: this.#now() }
    const connection: Connection = { socket, address, ...silent }
    this.#bySocket.set(socket, connection)
    this.#keyless.add(connection)
    const ofAddress = this.#byAddress.get(address)
    if (ofAddress) ofAddress.add(connection)
    else this.#byAddress.set(address, new Set([connection]))
    socket.once('close', () => this.#forget(connection))
  }

  /**
   * Closes the keyless connection that was silent longest where a limit is reached. Returns false
   * if all connections within the limit have an accepted key.
   */
  #makeRoom(address: string): boolean {
    const { max, maxPerAddress, isTrusted } = this.#options
    const ofAddress = this.#byAddress.get(address)
    if (maxPerAddress > 0 && ofAddress && ofAddress.size >= maxPerAddress && !isTrusted(address)) {
      if (!this.#evict(silentLongest(ofAddress))) return false
    }
    if (max === 0 || this.#bySocket.size < max) return true
    const [silent] = this.#keyless
    return this.#evict(silent)
  }

  #evict(connection: Connection | undefined): boolean {
    if (!connection) return false
    connection.socket.destroy()
    // Now, and not at the event, which comes after further connections.
    this.#forget(connection)
    return true
  }

  #forget(connection: Connection): void {
    const { socket, address, waiting } = connection
    if (!this.#bySocket.delete(socket)) return
    this.#keyless.delete(connection)
    this.#waiting -= waiting.splice(0).length
    const ofAddress = this.#byAddress.get(address)
    ofAddress?.delete(connection)
    if (ofAddress?.size === 0) this.#byAddress.delete(address)
  }

  #next(connection: Connection, request: IncomingMessage): void {
    connection.running--
    if (!request.complete) connection.answeredAt = this.#now()
    else if (connection.latest === request) {
      // An idle connection must not keep the upload of its latest request.
      delete connection.latest
      delete connection.body
    }
    const { waiting, socket } = connection
    if (waiting.length === 0) return
    // Node reads on when a request has ended.
    socket.pause()
    // Other connections come first: thousands of waiting requests must not run in one iteration.
    setImmediate(() => this.#runNext(connection))
  }

  #runNext(connection: Connection): void {
    const { waiting, socket, running } = connection
    const run = running < MAX_RUNNING ? waiting.shift() : undefined
    if (!run) return
    this.#waiting--
    run()
    if (waiting.length === 0) socket.resume()
  }

  /**
   * Called after a time without activity on a socket. Node counts bytes that the client took from a
   * large response as activity.
   */
  #endSilent(socket: Socket): void {
    const isAnswering = (this.#bySocket.get(socket)?.running ?? 0) > 0
    if (!isAnswering || socket.writableLength > 0) socket.destroy()
  }

  #noteActivity(connection: Connection, now: number): void {
    const { bytesRead } = connection.socket
    if (bytesRead === connection.bytesRead && connection.running === 0) return
    connection.bytesRead = bytesRead
    connection.activeAt = now
    if (!this.#keyless.delete(connection)) return
    this.#keyless.add(connection)
  }
}

/**
 * Checks the rate of a body in intervals. Where the gateway itself has not read what arrived, the
 * interval begins again.
 */
function isTooSlow(connection: Connection, request: IncomingMessage, now: number): boolean {
  const { bytesRead } = connection.socket
  const interval = connection.body
  const isNew = interval?.request !== request
  if (isNew || request.readableLength > 0) {
    connection.body = { request, at: now, bytes: bytesRead, isGrace: isNew || interval.isGrace }
    return false
  }
  if (now - interval.at < BODY_INTERVAL_MS) return false
  const isSlow = !interval.isGrace && bytesRead - interval.bytes < BODY_BYTES
  connection.body = { request, at: now, bytes: bytesRead, isGrace: false }
  return isSlow
}

/**
 * Sets the time that the `Keep-Alive` header of a response names. A client that believes in a
 * longer one sends its next request into a connection that is being closed. Node has no public
 * property for it, and a header that we set would also overrule Node's decision to close.
 */
function announceIdle(response: ServerResponse, ms: number): ServerResponse {
  return Object.assign(response, { _keepAliveTimeout: ms })
}

function silentLongest(connections: Set<Connection>): Connection | undefined {
  let longest: Connection | undefined
  for (const connection of connections) {
    if (!connection.isKeyed && (!longest || connection.activeAt < longest.activeAt)) longest = connection
  }
  return longest
}
