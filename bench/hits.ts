import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { Pool } from 'undici'
import { startFakeSegmind, TINY_JPEG } from '../test/support/doubles/fake-segmind.js'
import { startGatewayProcess } from '../test/support/gateway/gateway-process.js'
import { writeTeamsFile } from '../test/support/gateway/teams-file.js'

const KILOBYTES = Number(process.argv[2] ?? 200)
const ROUNDS = 7
const REQUESTS = 600
const CONNECTIONS = 16

const dir = await mkdtemp(join(tmpdir(), 'bench-'))
const upstream = await startFakeSegmind()
upstream.script(() => ({ body: jpeg(150_000) }))
const { file, keys } = await writeTeamsFile(dir, { bench: { limits: { requests_per_minute: 1_000_000 } } })
const settings = {
  DATA_DIR: dir,
  TEAMS_FILE: file,
  SEGMIND_API_KEY: upstream.apiKey,
  SEGMIND_BASE_URL: upstream.url,
  NODE_ENV: 'production',
}
const gateway = await startGatewayProcess(settings, { asShipped: true }).catch(async error => {
  await upstream.close()
  throw error
})
const bare = await startBare()
const photo = Buffer.concat([await realJpeg(), Buffer.alloc(KILOBYTES * 1000)]).subarray(0, KILOBYTES * 1000)
const body = Buffer.concat([
  Buffer.from(
    '--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\ndog\r\n--b\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n',
  ),
  photo,
  Buffer.from('\r\n--b--\r\n'),
])
const targets = [
  { name: 'bare', url: bare.url, pid: bare.child.pid ?? 0 },
  { name: 'gateway', url: gateway.url, pid: gateway.child.pid ?? 0 },
]
const cpu: Record<string, number[]> = { bare: [], gateway: [] }
for (let round = -1; round < ROUNDS; round++) {
  for (const { name, url, pid } of targets) {
    const before = cpuSeconds(pid)
    await drive(url)
    if (round >= 0) cpu[name]?.push(((cpuSeconds(pid) - before) / REQUESTS) * 1e6)
  }
}
const median = (values: number[] = []) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
const ratios = (cpu.gateway ?? []).map((us, round) => us / (cpu.bare?.[round] ?? 1))
console.log(
  `${KILOBYTES} KB upload, cached 150 KB response, ${CONNECTIONS} connections, ${ROUNDS} rounds of ${REQUESTS}, Node ${process.version}`,
)
for (const { name } of targets)
  console.log(`${name.padEnd(8)} ${Math.round(median(cpu[name]))} µs CPU per request (median)`)
console.log(
  `ratio    ${median(ratios).toFixed(2)} median of pairs, ${(Math.min(...(cpu.gateway ?? [])) / Math.min(...(cpu.bare ?? []))).toFixed(2)} best rounds`,
)
await gateway.end('SIGKILL')
bare.child.kill('SIGKILL')
await upstream.close()
await rm(dir, { recursive: true, force: true })

async function drive(url: string): Promise<void> {
  const pool = new Pool(url, { connections: CONNECTIONS })
  let left = REQUESTS
  const sendAll = async () => {
    while (left-- > 0) {
      const response = await pool.request({
        path: '/segment',
        method: 'POST',
        headers: { 'content-type': 'multipart/form-data; boundary=b', 'x-api-key': keys.bench },
        body,
      })
      const length = (await response.body.arrayBuffer()).byteLength
      if (response.statusCode !== 200 || length !== 150_000) throw new Error(`${response.statusCode}, ${length} bytes`)
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, sendAll))
  await pool.close()
}

/** Returns the user and system time of a process so far, from /proc (clock ticks are 10 ms). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function startBare(): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./bare-server.js', import.meta.url))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  return { url: (JSON.parse(line) as { url: string }).url, child }
}

/** Returns a small JPEG with more bytes behind it. */
function jpeg(bytes: number): Buffer {
  const picture = Buffer.alloc(bytes, 1)
  TINY_JPEG.copy(picture)
  return picture
}

function realJpeg(): Promise<Buffer> {
  return sharp({ create: { width: 640, height: 480, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer()
}
