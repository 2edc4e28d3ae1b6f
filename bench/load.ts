import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'

/**
 * Sends the same request over raw connections and checks every response. Takes `LoadJob` as JSON in
 * its only argument and prints `LoadReport`. Writes whole requests and looks only at the head of a
 * response, so that it needs a fraction of the processor time of any server.
 */
export interface LoadJob {
  port: number
  connections: number
  seconds: number
  /** File with the bytes of the request, head included. */
  file: string
  /** Position of 8 bytes that get another number in each request, so that its image is new. */
  uniqueAt?: number
  /** First number. Each connection counts in steps of their number. */
  first?: number
  /** True where all connections send the same numbers, so that their requests are the same. */
  isShared?: boolean
}

export interface LoadReport {
  requests: number
  /** Milliseconds. */
  p50: number
  p99: number
  /** Share of a processor that the load itself took. */
  load: number
}

const HEAD_END = Buffer.from('\r\n\r\n')
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n')

const job = JSON.parse(process.argv[2] ?? '{}') as LoadJob
const request = readFileSync(job.file)
const startedAt = performance.now()
const endsAt = startedAt + job.seconds * 1000
const latencies: number[] = []
await Promise.all(Array.from({ length: job.connections }, (_, index) => drive(index)))
latencies.sort((one, other) => one - other)
const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? 0
const { user, system } = process.cpuUsage()
const report: LoadReport = {
  requests: latencies.length,
  p50: at(0.5),
  p99: at(0.99),
  load: (user + system) / 1000 / (performance.now() - startedAt),
}
console.log(JSON.stringify(report))

/** Sends requests on one connection, each after the response to the one before. */
async function drive(index: number): Promise<void> {
  const bytes = job.uniqueAt === undefined ? request : Buffer.from(request)
  let number = (job.first ?? 0) + (job.isShared ? 0 : index)
  let socket: Socket | undefined
  while (performance.now() < endsAt) {
    if (job.uniqueAt !== undefined) bytes.writeBigUInt64BE(BigInt(number), job.uniqueAt)
    number += job.isShared ? 1 : job.connections
    const sentAt = performance.now()
    socket ??= await open()
    const isReusable = await exchange(socket, bytes)
    latencies.push(performance.now() - sentAt)
    if (!isReusable) {
      socket.destroy()
      socket = undefined
    }
  }
  socket?.destroy()
}

async function open(): Promise<Socket> {
  const socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** Sends one request and reads its response. Resolves with true if the connection stays open. */
function exchange(socket: Socket, bytes: Buffer): Promise<boolean> {
  const chunks: Buffer[] = []
  let isReusable = true
  /** Bytes of the response that are still to come; undefined until its head is complete. */
  let left: number | undefined
  let tail = Buffer.alloc(0)
  return new Promise((resolve, reject) => {
    const end = (error?: Error) => {
      socket.off('data', read).off('close', cutOff).off('error', reject)
      if (error) reject(error)
      else resolve(isReusable)
    }
    const cutOff = () => end(new Error('the server closed the connection'))
    const read = (chunk: Buffer) => {
      if (left === undefined) {
        chunks.push(chunk)
        const known = Buffer.concat(chunks)
        const headEnd = known.indexOf(HEAD_END)
        if (headEnd < 0) return
        const head = known.toString('latin1', 0, headEnd)
        isReusable = !/^connection: close/im.test(head)
        left = lengthIn(head) - (known.length - headEnd - HEAD_END.length)
      } else left -= chunk.length
      // A body in chunks ends with an empty one.
      tail = Buffer.concat([tail, chunk.subarray(-LAST_CHUNK.length)]).subarray(-LAST_CHUNK.length)
      if (left === Number.POSITIVE_INFINITY && tail.equals(LAST_CHUNK)) left = 0
      if (left <= 0) end()
    }
    socket.on('data', read).once('close', cutOff).once('error', reject)
    socket.write(bytes)
  })
}

/** Returns the length of the body; Infinity for one in chunks. Throws for an unusable response. */
function lengthIn(head: string): number {
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(head)
  if (/^transfer-encoding: chunked/im.test(head)) return Number.POSITIVE_INFINITY
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  if (length === undefined) throw new Error(`no length: ${head}`)
  return Number(length)
}
