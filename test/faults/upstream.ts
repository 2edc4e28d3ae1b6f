import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net'
import { formatCredits } from '../../src/contracts/nanocredits.js'
import { fakePicture } from '../support/doubles/fake-segmind.js'
import type { Picture, UpstreamCall } from './history.js'
import type { Behaviour, WrongFigures } from './schedule.js'

export interface UpstreamOptions {
  apiKey: string
  /** Returns the planned input with this image and prompt, or undefined. */
  inputOf(imageDigest: string, prompt: unknown): number | undefined
  /** Returns the behaviour of the `nth` call for an input, counted from 0. */
  behave(input: number, nth: number): Behaviour
}

/**
 * The Segmind of a run. Each gateway process has its own `baseUrl`, so that every call names its
 * process.
 */
export interface Upstream {
  baseUrl(instance: string): string
  calls: UpstreamCall[]
  /** Returns the call that these bytes are the picture of. */
  pictureOf(body: Buffer): Picture
  /** Refuses new connections. Open ones continue. */
  refuse(): void
  /** Accepts connections, always on the same port. */
  accept(): Promise<void>
  /** Returns the number of calls without a response. */
  openCalls(): number
  close(): Promise<void>
}

interface Job {
  call: UpstreamCall
  behaviour: Behaviour
  doneAt: number
  /** Number of polls, and of picture fetches, that still fail. */
  failingPolls: number
  failingFetches: number
}

/** Account balance at the start in 10⁻⁹ credit. */
const BALANCE = 9_000_000_000_000

export async function startUpstream(options: UpstreamOptions): Promise<Upstream> {
  const upstream = new ScriptedUpstream(options)
  await upstream.accept()
  return upstream
}

class ScriptedUpstream implements Upstream {
  readonly calls: UpstreamCall[] = []
  readonly #options: UpstreamOptions
  readonly #server = createServer((request, response) => {
    response.on('error', () => {})
    this.#handle(request, response).catch(() => request.socket.destroy())
  })
  readonly #sockets = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #pictures = new Map<string, Picture>()
  readonly #jobs = new Map<string, Job>()
  readonly #callCounts = new Map<number, number>()
  #port = 0

  constructor(options: UpstreamOptions) {
    this.#options = options
    // Closing a keep-alive socket could cut off an arriving request: an unplanned fault.
    this.#server.keepAliveTimeout = 0
    this.#server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  baseUrl(instance: string): string {
    return `${this.#origin}/instance/${instance}`
  }

  pictureOf(body: Buffer): Picture {
    return this.#pictures.get(digestOf(body)) ?? {}
  }

  refuse(): void {
    // The method of http.Server would close idle connections too.
    NetServer.prototype.close.call(this.#server)
  }

  async accept(): Promise<void> {
    if (this.#server.listening) return
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  openCalls(): number {
    return this.calls.filter(({ endedAt }) => endedAt === undefined).length
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  get #origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, instance = '', path = ''] = /^\/instance\/([^/]+)(\/.*)$/.exec(request.url ?? '') ?? []
    const [, owner = '', output] = /^\/outputs\/([^/]+)\/([^/]+)\.jpg$/.exec(request.url ?? '') ?? []
    if (output !== undefined) return this.#sendOutput(this.#jobs.get(output), owner, request, response)
    if (request.headers['x-api-key'] !== this.#options.apiKey) return sendJson(response, 401, { error: 'no key' })
    if (path === '/v1/get-user-credits') return this.#sendBalance(response)
    if (request.method === 'GET') return this.#sendJobStatus(path, instance, request, response)
    if (!/^\/v[12]\/sam-v2-image$/.test(path)) return sendJson(response, 404, { error: 'Model not found' })
    await this.#handleCall(this.#recordCall(instance, response), path.startsWith('/v2'), request, response)
  }

  get #balance(): number {
    return this.calls.reduce((left, { isPaid, cost }) => (isPaid ? left - cost : left), BALANCE)
  }

  /** As text, because a double may not keep all digits. */
  #sendBalance(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(`{"credits":${formatCredits(this.#balance)},"free-credits":0}`)
  }

  #moneyHeaders({ requestId }: UpstreamCall, stated?: WrongFigures): Record<string, string> {
    const offset = stated && 'balanceOffset' in stated ? stated.balanceOffset : 0
    return { 'x-request-id': requestId, 'x-remaining-credits': formatCredits(this.#balance + offset) }
  }

  #recordCall(instance: string, response: ServerResponse): UpstreamCall {
    const index = this.calls.length
    const call: UpstreamCall = {
      index,
      requestId: `call-${index}`,
      instance,
      kind: 'unread',
      at: Date.now(),
      cost: 0,
      billed: 'no',
      isPaid: false,
      deliveries: [],
      jobAccepted: false,
    }
    this.calls.push(call)
    const end = () => {
      call.endedAt ??= Date.now()
    }
    response.once('finish', end).once('close', end)
    return call
  }

  async #handleCall(
    call: UpstreamCall,
    isJob: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { image, prompt } = parsed(await bytesOf(request))
    const input = this.#options.inputOf(digestOf(Buffer.from(image, 'base64')), prompt)
    if (input === undefined) return sendJson(response, 400, { error: 'an unplanned image or prompt' })
    const nth = this.#callCounts.get(input) ?? 0
    this.#callCounts.set(input, nth + 1)
    const behaviour = this.#options.behave(input, nth)
    call.kind = behaviour.kind
    call.input = input
    // Looks to the gateway like a request that was never read. Only the history records it.
    if (behaviour.kind === 'reset-before') return void request.socket.resetAndDestroy()
    // Unknown to the gateway until it gets a response.
    call.billed = 'maybe'
    if ('cost' in behaviour) call.cost = Math.floor(behaviour.cost / 1000) * 1000 + call.index
    if (isJob) await this.#acceptJob(call, behaviour, request, response)
    else await this.#respond(call, behaviour, request, response)
  }

  async #respond(
    call: UpstreamCall,
    behaviour: Behaviour,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    await this.#pause(behaviour.delayMs)
    if (response.destroyed || behaviour.kind === 'hang') return
    if (behaviour.kind === 'reset') return resetAfterWork(call, request)
    if (sendRefusal(call, behaviour, response)) return
    call.billed = 'yes'
    call.isPaid = true
    call.status = 200
    const picture = this.#createPicture(call)
    const stated = statedBy(call, behaviour)
    response.writeHead(200, {
      'content-type': 'image/jpeg',
      'content-length': String(picture.length),
      'x-cost': formatCredits(call.statedCost ?? call.cost),
      ...this.#moneyHeaders(call, stated),
    })
    if (behaviour.kind === 'normal') {
      response.once('finish', () => call.deliveries.push({ instance: call.instance, at: Date.now() }))
      response.end(picture)
    } else sendHalf(picture, behaviour, request, response)
  }

  /** Accepts a job at once. The delay is the duration of the job. */
  async #acceptJob(
    call: UpstreamCall,
    behaviour: Behaviour,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const isJob = behaviour.kind === 'normal' || behaviour.kind === 'failed-job'
    if (!isJob) await this.#pause(behaviour.delayMs)
    if (response.destroyed || behaviour.kind === 'hang') return
    if (behaviour.kind === 'reset') return resetAfterWork(call, request)
    if (sendRefusal(call, behaviour, response)) return
    call.status = 200
    call.billed = behaviour.kind === 'failed-job' ? 'no' : 'yes'
    call.isPaid = call.billed === 'yes'
    const stated = statedBy(call, behaviour)
    const failures = 'isFlaky' in behaviour && behaviour.isFlaky ? 1 : 0
    const doneAt = Date.now() + behaviour.delayMs
    this.#jobs.set(call.requestId, { call, behaviour, doneAt, failingPolls: failures, failingFetches: failures })
    this.#createPicture(call)
    const base = `${this.baseUrl(call.instance)}/v2/requests/${call.requestId}`
    const accepted = {
      request_id: call.requestId,
      status: 'QUEUED',
      poll_url: `${this.baseUrl(call.instance)}/v1/requests/${call.requestId}`,
      status_url: `${base}/status`,
      response_url: base,
    }
    const body = Buffer.from(JSON.stringify(accepted))
    const length = { 'content-length': String(body.length) }
    response.writeHead(200, { 'content-type': 'application/json', ...length, ...this.#moneyHeaders(call, stated) })
    if (!isJob) return sendHalf(body, behaviour, request, response)
    response.once('finish', () => {
      call.jobAccepted = true
    })
    response.end(body)
  }

  async #sendJobStatus(
    path: string,
    instance: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const [, id = '', status] = /^\/v2\/requests\/([^/]+)(\/status)?$/.exec(path) ?? []
    const job = this.#jobs.get(id)
    if (!job) return sendJson(response, 404, { error: 'unknown request' })
    const { call } = job
    if (job.failingPolls-- > 0) return void request.socket.resetAndDestroy()
    if (Date.now() < job.doneAt) return sendJson(response, 200, { request_id: id, status: 'PROCESSING' })
    if (job.behaviour.kind === 'failed-job')
      return sendJson(response, 422, { request_id: id, status: 'FAILED', error: 'inference failed' })
    if (status) return sendJson(response, 200, { request_id: id, status: 'COMPLETED' })
    // Formatted as text, because a double may not keep all digits of a cost.
    const cost = formatCredits(call.statedCost ?? call.cost)
    const metrics = `{"cost":${cost},"remaining_credits":${formatCredits(this.#balance)}}`
    const output = `${this.#origin}/outputs/${instance}/${id}.jpg`
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(`{"request_id":"${id}","status":"COMPLETED","output":"${output}","metrics":${metrics}}`)
  }

  async #sendOutput(
    job: Job | undefined,
    instance: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (!job) return sendJson(response, 404, { error: 'no such picture' })
    const picture = this.#createPicture(job.call)
    response.writeHead(200, { 'content-type': 'image/jpeg', 'content-length': String(picture.length) })
    if (job.failingFetches-- > 0) return sendHalf(picture, { kind: 'cut' }, request, response)
    response.once('finish', () => job.call.deliveries.push({ instance, at: Date.now() }))
    response.end(picture)
  }

  /** Creates the picture of a call. It differs from all others, so that it identifies the call. */
  #createPicture({ requestId, input, index }: UpstreamCall): Buffer {
    const picture = fakePicture({ image: { digest: `${input}`, byteLength: 0 }, fields: { index } })
    this.#pictures.set(digestOf(picture), { requestId, ...(input !== undefined && { input }) })
    return picture
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        resolve()
      }, ms)
      this.#timers.add(timer)
    })
  }
}

/** Sends a planned refusal, which is never billed. Returns false if none is planned. */
function sendRefusal(call: UpstreamCall, behaviour: Behaviour, response: ServerResponse): boolean {
  if (behaviour.kind !== 'busy' && behaviour.kind !== 'server-error') return false
  call.billed = 'no'
  call.status = behaviour.kind === 'busy' ? 429 : behaviour.status
  const reset =
    behaviour.kind === 'busy'
      ? { 'x-rate-limit-reset-at-utc': new Date(Date.now() + behaviour.waitMs).toISOString() }
      : {}
  response.writeHead(call.status, { 'content-type': 'application/json', ...reset, 'x-request-id': call.requestId })
  response.end(JSON.stringify({ error: `planned ${behaviour.kind}` }))
  return true
}

function sendHalf(body: Buffer, { kind }: { kind: string }, request: IncomingMessage, response: ServerResponse): void {
  const half = body.subarray(0, Math.ceil(body.length / 2))
  response.write(half, () => {
    if (kind === 'cut') request.socket.destroy()
  })
}

/** Ends the connection after the work was done. Every other such call is billed. */
function resetAfterWork(call: UpstreamCall, request: IncomingMessage): void {
  call.isPaid = call.index % 2 === 0
  request.socket.resetAndDestroy()
}

/** Returns the wrong figures of a response, and records a wrong cost. */
function statedBy(call: UpstreamCall, behaviour: Behaviour): WrongFigures | undefined {
  const stated = behaviour.kind === 'normal' ? behaviour.stated : undefined
  if (stated) call.hasWrongFigures = true
  if (stated && 'cost' in stated) call.statedCost = stated.cost
  return stated
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function parsed(body: Buffer): { image: string; prompt: unknown } {
  const { image, prompt } = JSON.parse(body.toString('utf8')) as Record<string, unknown>
  return { image: String(image), prompt }
}

const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
