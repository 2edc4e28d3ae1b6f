import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import { receiveBody } from '../receive/body.js'
import { declaredBytes } from '../receive/upload.js'

const MAX_BYTES = 16_384

/**
 * Accepts small JSON bodies. A missing or blank body is `undefined`; other content types are
 * refused.
 */
export function addJsonParser(app: FastifyInstance): void {
  const tooLarge = () => new GatewayError('invalid_request', `The body is larger than ${MAX_BYTES} bytes.`)
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: Readable) => {
    const declared = declaredBytes(request)
    if ((declared ?? 0) > MAX_BYTES) throw tooLarge()
    const body = await receiveBody(payload, { declaredBytes: declared, maxBytes: MAX_BYTES, tooLarge })
    return parseJson(body.toString('utf8'))
  })
}

function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('invalid_request', 'The body is not JSON.', { cause })
  }
}
