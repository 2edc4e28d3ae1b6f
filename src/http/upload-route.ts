import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { imageTooLarge } from '../segment/image-source.js'
import { maxUploadBytes, type UploadForm } from '../segment/upload.js'
import { COPIES_OF_TEXT, declaredBytes } from './receive-form.js'
import type { Hold, UploadBudget } from './upload-budget.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Segmind's own address: answered in its statuses and words. */
    isSegminds?: boolean
    /** The most that a JSON body may have here. */
    maxBodyBytes?: number
  }
  interface FastifyRequest {
    /** What an upload is booked with. */
    hold: Hold
  }
}

/** What the reception of every upload needs. */
export interface UploadRouteParts {
  uploads: UploadBudget
  maxImageBytes: number
}

/** An address that takes an image. */
export interface UploadRoute {
  url: string
  form: UploadForm
  /** Whether errors are said in Segmind's statuses. */
  isSegminds?: boolean
  /** Answers before the body is asked for, where that is possible: then it has sent the reply. */
  early?(request: FastifyRequest, reply: FastifyReply): Promise<unknown>
  handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply>
}

/** Adds an address that takes an image: what can be refused is refused before a byte of the body is read, and its memory is booked. */
export function addUploadRoute(app: FastifyInstance, parts: UploadRouteParts, route: UploadRoute): void {
  const { url, form, isSegminds = false, early, handle } = route
  const maxBytes = maxUploadBytes({ maxImageBytes: parts.maxImageBytes, form })
  app.route({
    method: 'POST',
    url,
    config: { isSegminds, maxBodyBytes: maxBytes },
    onRequest: async (request, reply) => {
      checkContentType(request)
      if ((declaredBytes(request) ?? 0) > maxBytes) throw imageTooLarge(parts.maxImageBytes)
      // The client left while its rate was looked up: it is not answered, and nothing is begun.
      if (request.exchange.isOver) return void reply.hijack()
      holdUpload(request, parts.uploads, maxBytes)
      await early?.(request, reply)
    },
    handler: async (request, reply) => {
      if (request.exchange.isOver) return reply.hijack()
      const answered = handle(request, reply)
      request.hold.until(answered)
      return answered
    },
  })
}

/** Looks at the content type before the body is asked for. Throws `unsupported_content_type`. */
function checkContentType(request: FastifyRequest): void {
  if (/^(multipart\/form-data|application\/json)\s*(;|$)/i.test(request.headers['content-type'] ?? '')) return
  throw new GatewayError('unsupported_content_type', 'Send multipart/form-data or application/json.')
}

/** Books the memory an upload will take, before a byte of it is read, until its answer and all the work with it are done. Throws `overloaded`. */
function holdUpload(request: FastifyRequest, uploads: UploadBudget, maxBytes: number): void {
  const copies = /^application\/json/i.test(request.headers['content-type'] ?? '') ? COPIES_OF_TEXT : 1
  request.hold = uploads.hold(copies * (declaredBytes(request) ?? maxBytes))
  request.exchange.whenOver(request.hold.release)
}
