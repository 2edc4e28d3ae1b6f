import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

export interface TcpProxy {
  port: number
  /** Connections made so far. */
  connections(): number
  /**
   * Stops all traffic of the current connections and keeps them open, like a cut cable. Later ones
   * are not affected.
   */
  blackhole(): void
  close(): Promise<void>
}

export interface ProxyOptions {
  targetPort: number
  /** Bytes that pass at once, each way. */
  bytesAtOnce?: number
  /** Pause after them. */
  pauseMs?: number
  /** Bytes after which the pauses stop. */
  slowBytes?: number
}

/** Starts a proxy on the loopback that can slow connections down or cut them. */
export async function startTcpProxy(options: ProxyOptions): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer(client => {
    connections++
    const upstream = connect(options.targetPort, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    }
    client.pipe(throttle(options)).pipe(upstream)
    upstream.pipe(throttle(options)).pipe(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    blackhole() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function throttle({
  bytesAtOnce = 65_536,
  pauseMs = 0,
  slowBytes = Number.POSITIVE_INFINITY,
}: ProxyOptions): Transform {
  let passed = 0
  return new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      for (let from = 0; from < chunk.length; from += bytesAtOnce) {
        this.push(chunk.subarray(from, from + bytesAtOnce))
        passed += bytesAtOnce
        if (pauseMs > 0 && chunk.length > 1_000 && passed < slowBytes)
          await new Promise(resolve => setTimeout(resolve, pauseMs))
      }
      done()
    },
  })
}
