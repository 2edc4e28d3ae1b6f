import type { FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import { imageTooLarge } from '../../images/image-type.js'
import { describeName } from '../../input/describe.js'
import { maxUploadBytes, type UploadForm } from '../../input/form.js'
import { onRequest } from '../server/hooks.js'
import { callerOf } from '../server/request-facts.js'
import type { MemoryHold, TransferMemory } from './transfer-memory.js'
import { declaredBytes } from './upload.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Largest JSON body of the route. */
    maxBodyBytes?: number
  }
  interface FastifyRequest {
    /** Memory booked for what the request has sent. */
    hold: MemoryHold
  }
}

export interface UploadRouteParts {
  memory: TransferMemory
  maxImageBytes: number
}

/** A route that receives an image. */
export interface UploadRoute {
  url: string
  form: UploadForm
  /** True on drop-in endpoints. */
  isDropIn?: boolean
  /** Absent where the route spends nothing; see the team's rates. */
  spends?: FastifyContextConfig['spends']
  /** Answers a client that waits for `100 Continue`, where possible: then it has sent the reply. */
  early?(request: FastifyRequest, reply: FastifyReply): Promise<unknown>
  handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply>
}

/**
 * Adds a route that receives an image. Checks its headers before a byte of the body is read.
 */
export function addUploadRoute(app: FastifyInstance, parts: UploadRouteParts, route: UploadRoute): void {
  const { url, form, isDropIn = false, spends, early, handle } = route
  const maxBytes = maxUploadBytes({ maxImageBytes: parts.maxImageBytes, form })
  app.route({
    method: 'POST',
    url,
    config: { isDropIn, maxBodyBytes: maxBytes, ...defined({ spends }) },
    onRequest: onRequest((request, reply) => {
      checkContentType(request)
      if (!isDropIn) refuseQuery(request)
      if ((declaredBytes(request) ?? 0) > maxBytes) throw imageTooLarge(parts.maxImageBytes)
      // The client left while its rate was checked. It gets no response, and no work starts.
      if (request.lifetime.hasEnded) return void reply.hijack()
      request.hold = parts.memory.hold(callerOf(request).team)
      request.lifetime.onEnd(request.hold.release)
      return request.headers.expect === undefined ? undefined : early?.(request, reply)
    }),
    handler: (request, reply) => {
      if (request.lifetime.hasEnded) return reply.hijack()
      const answered = handle(request, reply)
      request.hold.until(answered)
      return answered
    },
  })
}

/**
 * Throws `invalid_request` for a query. Ignored, it could buy another picture than was meant. Segmind's
 * clients may send what they like.
 */
function refuseQuery(request: FastifyRequest): void {
  const [name] = Object.keys(request.query as object)
  if (name === undefined) return
  const detail = `The query parameter ${describeName(name)} is not accepted. Send fields in the body.`
  throw new GatewayError('invalid_request', detail)
}

/** Throws `unsupported_content_type`. */
function checkContentType({ headers }: FastifyRequest): void {
  if (/^(multipart\/form-data|application\/json)\s*(;|$)/i.test(headers['content-type'] ?? '')) return
  throw new GatewayError('unsupported_content_type', 'Send multipart/form-data or application/json.')
}
