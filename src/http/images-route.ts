import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Caller } from '../segment/types.js'
import { callerOf } from './facts.js'

export interface ImagesRouteParts {
  /** Whether the gateway holds an image that this caller may name. */
  holds(caller: Caller, digest: string): Promise<boolean>
}

const ID = /^sha256:([0-9a-f]{64})$/

/** `HEAD /images/{id}`: whether the gateway holds an image, so that a client need not send it. Spends nothing and moves no bytes. */
export function addImagesRoute(app: FastifyInstance, { holds }: ImagesRouteParts): void {
  app.head<{ Params: { id: string } }>('/images/:id', async (request, reply) => {
    const { id } = request.params
    const digest = ID.exec(id)?.[1]
    if (digest === undefined || !(await holds(callerOf(request), digest)))
      throw new GatewayError('unknown_image', 'The gateway does not hold this image; send its bytes.')
    return reply.headers({ 'x-image-id': id, 'cache-control': 'no-store' }).send()
  })
}
