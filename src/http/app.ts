import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest, LogController } from 'fastify'
import { GatewayError } from '../errors.js'
import { type Keys, operatorDoor, teamDoor } from './authenticate.js'
import { addBatchRoute, type BatchRouteParts } from './batch-route.js'
import { answerClientError, refuseTunnel } from './client-errors.js'
import type { CreditFacts } from './credits-route.js'
import { addDocsRoutes } from './docs-routes.js'
import { addErrorHandler, sendProblem, toGatewayError } from './error-handler.js'
import { Exchanges } from './exchanges.js'
import { type Explanations, isRequestId } from './explain-route.js'
import { addFacts, beginFacts, type Finished, type FinishedStory } from './facts.js'
import { addHealthRoutes, type Health } from './health-routes.js'
import { addImagesRoutes } from './images-route.js'
import { addOperatorRoutes, type OperatorParts } from './operator-routes.js'
import { addOutputsRoute, type OutputsRouteParts } from './outputs-route.js'
import { addPagesRoutes } from './pages-routes.js'
import { addRateLimits } from './rate-limits.js'
import { addResultsRoute } from './results-route.js'
import { addSegmentRoutes, addUploadParsers } from './segment-route.js'
import { addSegmindRoutes, type SegmindRouteParts } from './segmind-routes.js'
import type { StatementsParts } from './statements-routes.js'
import { addUsageRoute, type UsageParts } from './usage-route.js'

export interface AppParts {
  log: FastifyBaseLogger
  trustProxy: boolean | number | string[]
  keys: Keys
  health: Health
  questions: BatchRouteParts & SegmindRouteParts
  outputs: OutputsRouteParts
  usage: UsageParts
  credits(): CreditFacts
  statements: StatementsParts
  /** Redis for the rates, as `@fastify/rate-limit` wants it; without one each process counts for itself. */
  rateLimitRedis: unknown
  now(): number
  onFinished(finished: Finished, story?: FinishedStory): void
  isTraced: boolean
  /** The sandbox stands in for Segmind: every answer says so. */
  isSandbox: boolean
  explanations: Explanations
  operators: OperatorParts
}

/** How long a request may take to arrive whole; a slower one is cut off (`upload_timeout`). */
const REQUEST_TIMEOUT_MS = 300_000
/** Longer than the usual load balancer keeps its side open, so that it never sends into a closing connection. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000

/** The HTTP shell: it listens, and it closes once the requests under way are answered. */
export type App = FastifyInstance

/** Builds the HTTP shell: the doors of SPEC §2, each a scope with its own hooks. Not listening yet. */
export async function buildApp(parts: AppParts): Promise<App> {
  const exchanges = new Exchanges()
  const facts = { exchanges, onFinished: parts.onFinished, isTraced: parts.isTraced }
  const clientErrors = { exchanges, log: parts.log }
  const app: App = Fastify({
    loggerInstance: parts.log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    trustProxy: typeof parts.trustProxy === 'number' ? trustHops(parts.trustProxy) : parts.trustProxy,
    genReqId: requestIdOf,
    requestIdHeader: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    // Node alone would answer the lack of it without a word; `requireHost` does it in the gateway's.
    http: { requireHostHeader: false },
    clientErrorHandler: (error, socket) => answerClientError(error, socket, clientErrors),
    frameworkErrors: (error, request, reply) => {
      beginFacts(request, reply, facts)
      sendProblem(toGatewayError(error), request, reply)
    },
  })
  continueOnlyWhenWanted(app)
  app.server.on('connect', (_request: IncomingMessage, socket: Socket) => refuseTunnel(socket, clientErrors))
  addFacts(app, facts)
  app.addHook('onRequest', requireHost)
  const notFound = addErrorHandler(app)
  app.removeAllContentTypeParsers()
  addHealthRoutes(app, parts.health)
  addOutputsRoute(app, parts.outputs)
  await addDocsRoutes(app)
  await addPagesRoutes(app)
  const limits = await addRateLimits(app, { redis: parts.rateLimitRedis })
  await app.register(async team => {
    team.addHook('onRequest', async () => refuseWhileDraining(parts.health))
    team.addHook('onRequest', teamDoor(parts.keys, limits.countFailure, parts.now))
    team.addHook('onRequest', limits.perTeam)
    await team.register(multipart)
    addTeamRoutes(team, parts)
  })
  await app.register(
    async admin => {
      admin.addHook('onRequest', operatorDoor(parts.keys, limits.countFailure, parts.now))
      // A scope of its own for what is not found, too: the key is asked for before it is said what is there.
      admin.setNotFoundHandler(notFound)
      await addOperatorRoutes(admin, { ...parts, ...parts.operators })
    },
    { prefix: '/admin' },
  )
  return app
}

/** What teams may ask, behind their door. */
function addTeamRoutes(team: App, { questions, usage, isSandbox }: AppParts): void {
  team.addHook('onSend', async ({ facts }, reply) => {
    if (isSandbox || facts.caller?.isTest) reply.header('x-sandbox', 'true')
  })
  addUploadParsers(team, questions)
  addSegmentRoutes(team, questions)
  addBatchRoute(team, questions)
  addImagesRoutes(team, questions)
  addResultsRoute(team, questions)
  addUsageRoute(team, usage)
  addSegmindRoutes(team, questions)
}

function refuseWhileDraining(health: Health): void {
  if (health.isDraining())
    throw new GatewayError('shutting_down', 'The gateway is shutting down.', { retryAfterSeconds: 5 })
}

/** RFC 9112 §3.2: a request of HTTP/1.1 names its host. */
async function requireHost({ raw }: FastifyRequest): Promise<void> {
  if (raw.headers.host === undefined && raw.httpVersion === '1.1')
    throw new GatewayError('invalid_request', 'The request has no Host header.')
}

/** The caller's own request id when it is a sane one (safe in a header and a log line), else a new one. */
function requestIdOf(request: { headers: IncomingMessage['headers'] }): string {
  const own = request.headers['x-request-id']
  return typeof own === 'string' && isRequestId(own) ? own : randomUUID()
}

/**
 * A client that sends `Expect: 100-continue` (curl over 1 MB) keeps its body back until it is asked for it: that happens
 * after its key and its rate were checked, so a refused upload is never sent. After a refusal Node ends the connection:
 * whether the client's next bytes are the body or another request cannot be told (RFC 9110 §10.1.1).
 */
function continueOnlyWhenWanted(app: FastifyInstance): void {
  const held = new WeakSet<ServerResponse>()
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    held.add(response)
    app.routing(request, response)
  })
  // Any other expectation is ignored, as RFC 9110 allows: Node alone would answer 417 in words of its own.
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    app.routing(request, response),
  )
  app.addHook('preParsing', async (request, reply) => {
    if (!request.is404 && held.delete(reply.raw)) reply.raw.writeContinue()
  })
}

/** Believes the last `hops` proxies, counted from the gateway. */
function trustHops(hops: number): (address: string, hop: number) => boolean {
  return (_address, hop) => hop < hops
}
