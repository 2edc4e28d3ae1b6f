import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

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
function drive(index: number): Promise<void> {
  const bytes = job.uniqueAt === undefined ? request : Buffer.from(request)
  const socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true })
  let number = (job.first ?? 0) + index
  let sentAt = 0
  /** Bytes of the response that are still to come; undefined until its head is complete. */
  let left: number | undefined
  let head: Buffer[] = []
  const send = () => {
    if (job.uniqueAt !== undefined) bytes.writeBigUInt64BE(BigInt(number), job.uniqueAt)
    number += job.connections
    sentAt = performance.now()
    socket.write(bytes)
  }
  return new Promise((resolve, reject) => {
    socket.once('connect', send)
    socket.once('error', reject)
    socket.on('data', chunk => {
      if (left === undefined) {
        head.push(chunk)
        const known = Buffer.concat(head)
        const end = known.indexOf(HEAD_END)
        if (end < 0) return
        left = lengthIn(known.toString('latin1', 0, end)) - (known.length - end - HEAD_END.length)
      } else left -= chunk.length
      if (left > 0) return
      left = undefined
      head = []
      latencies.push(performance.now() - sentAt)
      if (performance.now() < endsAt) return send()
      socket.destroy()
      resolve()
    })
    socket.once('close', () => reject(new Error('the server closed the connection')))
  })
}

function lengthIn(head: string): number {
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(head)
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  if (length === undefined) throw new Error(`no length: ${head}`)
  return Number(length)
}
