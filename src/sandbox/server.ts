import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Clock } from '../contracts/clock.js'
import { fromCredits, type Nanocredits, toCredits } from '../contracts/nanocredits.js'
import { Account } from './account.js'
import type { SandboxContext } from './context.js'
import { HISTORY_PATH, handleHistory, handleHistoryOf } from './history-routes.js'
import { handleImage } from './image-route.js'
import { JobQueue } from './job-queue.js'
import { handleJob, handleOutput, handleSubmission, type JobView, OUTPUTS_PATH } from './job-routes.js'
import { RequestLog } from './request-log.js'
import { type Segmenter, WorkerSegmenter } from './segmenter.js'

export interface SandboxOptions {
  /** Default: `127.0.0.1`. */
  host?: string
  /** Default: 0, any free port. */
  port?: number
  /** The only valid key, sent as `x-api-key`. */
  apiKey: string
  /** Initial balance of the account, in credits. Default: 10. */
  credits?: number
  /** Added to the duration of each segmentation. Default: 0. */
  latencyMs?: number
  /** Closed together with the sandbox. Default: segments the photo in a worker thread. */
  segmenter?: Segmenter
  /** For tests. Default: `Date.now`. */
  now?: Clock
  /** Waits for latency and delays, or until the signal aborts. For tests. */
  wait?: SandboxContext['wait']
}

/** A running stand-in for Segmind. */
export interface Sandbox {
  /** `http://host:port` without a trailing slash, for the gateway's `SEGMIND_BASE_URL`. */
  readonly url: string
  readonly apiKey: string
  /** Number of calls that were charged. */
  readonly calls: number
  /** Number of image requests with the valid key, charged or not. */
  readonly requests: number
  /** Returns the current balance. */
  credits(): Nanocredits
  /** Closes connections, ends the worker thread, fails unfinished jobs, and frees the port. */
  close(): Promise<void>
}

const MAX_BODY_BYTES = 40 * 1024 * 1024
/**
 * Longer than any request line that Node accepts, so that a long id gets 404 and no error of the
 * router.
 */
const MAX_ID_LENGTH = 65_536
/**
 * Part of the balance that is reported as free credits (docs/segmind.md, Response). Calls use it
 * last.
 */
const FREE_CREDITS = fromCredits(0.5)
/** Allowed methods by path. */
const ALLOWED_METHODS: readonly (readonly [path: RegExp, methods: string])[] = [
  [/^\/v[12]\/sam-v2-image$/, 'POST'],
  [/^\/v1\/get-user-credits$/, 'GET, HEAD'],
  [/^\/v[12]\/requests\/[^/]+$/, 'GET, HEAD'],
  [/^\/v2\/requests\/[^/]+\/status$/, 'GET, HEAD'],
  [/^\/outputs\/[^/]+$/, 'GET, HEAD'],
  [/^\/inference-request\/request-history(\/[^/]+)?$/, 'GET, HEAD'],
]

/**
 * Starts a local Segmind for `sam-v2-image`: its HTTP API (docs/segmind.md), real masks and
 * simulated credits.
 */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { host = '127.0.0.1', port = 0, apiKey, credits = 10, latencyMs = 0, now = Date.now, wait = sleep } = options
  const { segmenter = new WorkerSegmenter() } = options
  const closing = new AbortController()
  setMaxListeners(0, closing.signal) // each wait adds a listener
  const account = new Account(fromCredits(credits))
  const requests = new RequestLog(now)
  const context: SandboxContext = { account, requests, segmenter, latencyMs, now, wait, closing: closing.signal }
  const jobs = new JobQueue(context)
  const counters = { requests: 0 }
  const app = buildApp({ context, jobs, apiKey, counters })
  await app.listen({ host, port })
  return {
    url: urlOf(host, app.server.address() as AddressInfo),
    apiKey,
    get calls() {
      return account.calls
    },
    get requests() {
      return counters.requests
    },
    credits: () => account.balance,
    close: async () => {
      closing.abort()
      await app.close()
      await segmenter.close()
      await jobs.idle()
    },
  }
}

/** Generates a key in Segmind's format: `SG_` and 16 hex digits. */
export function newSandboxKey(): string {
  return `SG_${randomBytes(8).toString('hex')}`
}

async function sleep(milliseconds: number, until: AbortSignal): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal: until }).catch(() => undefined)
}

interface AppParts {
  context: SandboxContext
  jobs: JobQueue
  apiKey: string
  counters: { requests: number }
}

function buildApp(parts: AppParts): FastifyInstance {
  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    logger: false,
    routerOptions: { maxParamLength: MAX_ID_LENGTH },
  })
  const checkKey = createKeyCheck(parts.apiKey)
  app.register(multipart, { limits: { fileSize: MAX_BODY_BYTES, fieldSize: MAX_BODY_BYTES, files: 1, fields: 20 } })
  app.setErrorHandler(handleError)
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('*', (_request, _payload, done) => done(invalidContentType()))
  app.setNotFoundHandler((request, reply) => handleNotFound(checkKey, request, reply))
  app.after(() => {
    addImageRoutes(app, parts, checkKey)
    addReadRoutes(app, parts, checkKey)
  })
  return app
}

function addImageRoutes(app: FastifyInstance, { context, jobs, counters }: AppParts, onRequest: KeyCheck): void {
  const acceptRequest = (request: FastifyRequest) => {
    counters.requests++
    if (request.headers['content-type'] === undefined) throw invalidContentType()
  }
  app.post('/v1/sam-v2-image', { onRequest }, (request, reply) => {
    acceptRequest(request)
    return handleImage(context, request, reply)
  })
  app.post('/v2/sam-v2-image', { onRequest }, (request, reply) => {
    acceptRequest(request)
    return handleSubmission({ context, jobs }, request, reply)
  })
}

function addReadRoutes(app: FastifyInstance, { context, jobs }: AppParts, onRequest: KeyCheck): void {
  app.get('/v1/get-user-credits', { onRequest }, () => {
    const free = Math.min(context.account.balance, FREE_CREDITS)
    return { credits: toCredits(context.account.balance - free), 'free-credits': toCredits(free) }
  })
  const views: readonly [path: string, view: JobView][] = [
    ['/v1/requests/:id', 'v1'],
    ['/v2/requests/:id/status', 'status'],
    ['/v2/requests/:id', 'result'],
  ]
  for (const [path, view] of views) {
    app.get<{ Params: { id: string } }>(path, { onRequest }, (request, reply) => handleJob(jobs, view, request, reply))
  }
  app.get(HISTORY_PATH, { onRequest }, (request, reply) => handleHistory(context.requests, request, reply))
  app.get(`${HISTORY_PATH}/:id`, { onRequest }, (request, reply) => handleHistoryOf(context.requests, request, reply))
  const outputs = { output: (id: string) => jobs.output(id) ?? context.requests.output(id) }
  app.get<{ Params: { name: string } }>(`${OUTPUTS_PATH}/:name`, (request, reply) =>
    handleOutput(outputs, request, reply),
  )
}

type KeyCheck = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>

function createKeyCheck(apiKey: string): KeyCheck {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const expected = digest(apiKey)
  return async (request, reply) => {
    const key = request.headers['x-api-key']
    if (typeof key === 'string' && timingSafeEqual(digest(key), expected)) return undefined
    const error = key === undefined ? 'Missing Authorization or x-api-key in header' : 'Invalid API key'
    return reply.code(401).send({ error })
  }
}

/** Sends 405 as HTML for a known path, without checking the key, and otherwise 404. */
async function handleNotFound(checkKey: KeyCheck, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const path = request.url.split('?')[0] ?? ''
  const methods = ALLOWED_METHODS.find(([pattern]) => pattern.test(path))?.[1]
  if (methods !== undefined) {
    const html = '<!doctype html><html><body><h1>405 Method Not Allowed</h1></body></html>'
    return reply.code(405).header('allow', methods).type('text/html; charset=utf-8').send(html)
  }
  return (await checkKey(request, reply)) ?? reply.code(404).send({ error: 'Model not found' })
}

/** Sends errors of Fastify and its multipart plugin as Segmind sends them. */
function handleError(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 0
  if (status === 406 || status === 415) return reply.code(406).send({ error: 'Invalid content type' })
  if (status === 413) return reply.code(413).send({ error: 'Request body too large' })
  if (status >= 500) return reply.code(500).send({ error: 'Internal server error' })
  return reply.code(400).send({ error: 'Malformed request body' })
}

function invalidContentType(): Error & { statusCode: number } {
  return Object.assign(new Error('Invalid content type'), { statusCode: 406 })
}

function urlOf(host: string, address: AddressInfo): string {
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `http://${host === 'localhost' ? 'localhost' : name}:${address.port}`
}
