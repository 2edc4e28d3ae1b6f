import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { AccountStatus } from '../contracts/account.js'
import type { Clock } from '../contracts/clock.js'
import { GatewayError } from '../contracts/errors.js'
import type { RateCounts } from '../contracts/store.js'
import type { Explanations } from './admin/explain.js'
import { addOperatorRoutes, type OperatorParts } from './admin/routes.js'
import type { StatementsParts } from './admin/statements.js'
import { addBatchRoute, type BatchRouteParts } from './segment/batch.js'
import { addImagesRoutes } from './segment/images.js'
import { addOutputsRoute, type OutputsRouteParts } from './segment/outputs.js'
import { addResultsRoute } from './segment/results.js'
import { addSegmentRoutes, addUploadParsers } from './segment/segment.js'
import { addUsageRoute, type UsageParts } from './segment/usage.js'
import { addSegmindRoutes } from './segmind/routes.js'
import type { JobRouteParts } from './segmind/submitted-jobs.js'
import {
  type AuthenticationParts,
  createOperatorAuthentication,
  createTeamAuthentication,
  type Keys,
} from './server/authenticate.js'
import { answerClientError, endSlowUpload, refuseTunnel } from './server/client-errors.js'
import type { Connections } from './server/connections.js'
import { refuseEncodedBody } from './server/content-encoding.js'
import { addErrorHandler, sendProblem, toGatewayError } from './server/error-handler.js'
import { addExpectContinue } from './server/expect-continue.js'
import { addHealthRoutes, type Health } from './server/health.js'
import { onRequest } from './server/hooks.js'
import { OpenRequests } from './server/open-requests.js'
import { addRateLimits, type RateLimits } from './server/rate-limits.js'
import { beginFacts, decorateFacts, type RequestObserver } from './server/request-facts.js'
import { checkHost, toOriginForm } from './server/request-host.js'
import { requestIdOf } from './server/request-ids.js'
import { RequestLog } from './server/request-log.js'
import { addDocsRoutes } from './site/docs.js'
import { addPagesRoutes } from './site/pages.js'
import type { Site } from './site/site.js'

export interface AppParts {
  log: FastifyBaseLogger
  /** Tells whether the headers of the proxy at this address and distance are trusted. */
  isTrustedProxy(address: string, hop: number): boolean
  connections: Connections
  keys: Keys
  health: Health
  segmentation: Omit<BatchRouteParts, 'countSelections'> & JobRouteParts
  outputs: OutputsRouteParts
  usage: UsageParts
  credits(): AccountStatus
  statements: StatementsParts
  rates: RateCounts
  now: Clock
  observer: RequestObserver
  isTraced: boolean
  /** True when the sandbox replaces Segmind. Every response then says so. */
  isSandbox: boolean
  explanations: Explanations
  operators: OperatorParts
  site: Site
}

/** How often Node looks for requests whose headers did not arrive in time. */
const CHECK_HEADERS_EVERY_MS = 1_000

/** The HTTP server. It closes once the requests in flight are answered. */
export type App = FastifyInstance

/**
 * Builds the HTTP server, with one scope of routes and hooks for each audience. It does not listen
 * yet.
 */
export async function buildApp(parts: AppParts): Promise<App> {
  const app = createServer(parts)
  addExpectContinue(app, parts.connections)
  const notFound = addErrorHandler(app)
  app.removeAllContentTypeParsers()
  addHealthRoutes(app, parts.health)
  addOutputsRoute(app, parts.outputs)
  addDocsRoutes(app, parts.site)
  addPagesRoutes(app, parts.site)
  const rateLimits = await addRateLimits(app, parts.rates)
  const authentication = { keys: parts.keys, countFailure: rateLimits.countFailure, now: parts.now }
  await app.register(team => addTeamRoutes(team, parts, { authentication, rateLimits }))
  await app.register(
    async admin => {
      const authenticate = createOperatorAuthentication(authentication)
      const check = onRequest(request => {
        const refused = authenticate(request)
        if (!refused) parts.connections.accept(request.raw.socket)
        return refused
      })
      admin.addHook('onRequest', check)
      admin.addHook('onRequest', refuseEncodedBody)
      // Set again in this scope, so that authentication runs before a 404.
      admin.setNotFoundHandler(notFound)
      await addOperatorRoutes(admin, { ...parts, ...parts.operators })
    },
    { prefix: '/admin' },
  )
  return app
}

function createServer({ health, log, isTrustedProxy, connections, observer, isTraced, isSandbox }: AppParts): App {
  const openRequests = new OpenRequests()
  // Its lines have chosen fields without secrets. To search each line took 4 % of the CPU of a hit
  // by id.
  const requestLog = log.child({}, { redact: [] })
  const factsParts = { openRequests, observer, requestLog, isTraced, isSandbox }
  const clientErrors = { openRequests, log }
  const app: App = Fastify({
    loggerInstance: log,
    childLoggerFactory: (parent, bindings, options) => new RequestLog(parent, bindings, options),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    trustProxy: isTrustedProxy,
    genReqId: requestIdOf,
    requestIdHeader: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    serverFactory: handle => {
      // Node would answer a missing Host header without a body; `checkHost` sends a problem.
      const options = { requireHostHeader: false, connectionsCheckingInterval: CHECK_HEADERS_EVERY_MS }
      const server = createHttpServer(options, (request, response) => connections.dispatch(request, response, handle))
      connections.guard(server, socket => endSlowUpload(socket, clientErrors))
      return server
    },
    rewriteUrl: toOriginForm,
    clientErrorHandler: (error, socket) => answerClientError(error, socket, clientErrors),
    frameworkErrors: (error, request, reply) => {
      beginFacts(request, reply, factsParts)
      sendProblem(toGatewayError(error), request, reply)
    },
  })
  app.server.on('connect', (_request: IncomingMessage, socket: Socket) => refuseTunnel(socket, clientErrors))
  decorateFacts(app, openRequests)
  app.addHook('onRequest', (request, reply, done) => {
    beginFacts(request, reply, factsParts)
    checkHost(request)
    done()
  })
  app.addHook('onSend', ({ raw }, reply, _payload, done) => {
    if (!health.lifecycle.isLeaving) return done()
    // By then a body that arrived together with the head is parsed.
    setImmediate(() => {
      // Closed before the body has arrived, the connection would break before a refusal is read.
      if (raw.complete) reply.header('connection', 'close')
      done()
    })
  })
  return app
}

/**
 * Adds the routes for team keys. A key is checked, and its team's rate, before any of the body is
 * read.
 */
async function addTeamRoutes(
  team: App,
  { health, segmentation, usage, connections }: AppParts,
  { authentication, rateLimits }: { authentication: AuthenticationParts; rateLimits: RateLimits },
): Promise<void> {
  const authenticate = createTeamAuthentication(authentication)
  const check = onRequest((request, reply) => {
    if (health.lifecycle.isDraining)
      throw new GatewayError('shutting_down', 'The gateway is shutting down.', { retryAfterSeconds: 5 })
    const refused = authenticate(request)
    if (refused) return refused
    connections.accept(request.raw.socket)
    if (request.facts.caller?.isTest) reply.header('x-sandbox', 'true')
    return rateLimits.limitTeam(request, reply)
  })
  team.addHook('onRequest', check)
  team.addHook('onRequest', refuseEncodedBody)
  await team.register(multipart)
  addUploadParsers(team, segmentation)
  addSegmentRoutes(team, segmentation)
  addBatchRoute(team, { ...segmentation, ...rateLimits })
  addImagesRoutes(team, segmentation)
  addResultsRoute(team, segmentation)
  addUsageRoute(team, usage)
  await team.register(segmind => addSegmindRoutes(segmind, segmentation))
}
