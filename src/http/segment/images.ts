import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import type { Params } from '../../contracts/types.js'
import { IMAGE_FORM } from '../../input/form.js'
import { bytesOf } from '../../segment/keyed-request.js'
import { receiveUpload } from '../receive/upload.js'
import { addUploadRoute } from '../receive/upload-route.js'
import { callerOf } from '../server/request-facts.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'
import { modeOf, scopeOf, type TeamRouteParts } from './route-parts.js'

const IMAGE_ID = /^sha256:([0-9a-f]{64})$/i
const NO_PARAMS: Params = { overlayMask: true }

interface ImageRequest {
  Params: { id: string }
}

/** Adds `POST /images`, `HEAD /images/{id}` and `DELETE /images/{id}`. All of them are free. */
export function addImagesRoutes(app: FastifyInstance, parts: TeamRouteParts): void {
  addUploadRoute(app, parts, {
    url: '/images',
    form: IMAGE_FORM,
    handle: (request, reply) => storeImage(request, reply, parts),
  })
  app.head<ImageRequest>('/images/:id', async (request, reply) => {
    const mode = modeOf(request, parts)
    const digest = parseImageId(request.params.id)
    if (digest === undefined || !(await mode.images.has(scopeOf(callerOf(request), mode), digest))) throw unknownImage()
    return reply.headers({ 'x-image-id': `sha256:${digest}`, 'cache-control': 'no-store' }).send()
  })
  app.delete<ImageRequest>('/images/:id', async (request, reply) => {
    const mode = modeOf(request, parts)
    const caller = callerOf(request)
    const digest = parseImageId(request.params.id)
    if (digest === undefined) throw unknownImage()
    const dropping = mode.images.drop(scopeOf(caller, mode), digest, caller.team.id)
    const outcome = await orStoreUnavailable(dropping, 'The image cannot be deleted')
    if (outcome === 'unknown') throw unknownImage()
    if (outcome === 'foreign')
      throw new GatewayError('forbidden', 'Another team sent this image. Only a team that sent it may delete it.')
    return reply.code(204).header('cache-control', 'no-store').send()
  })
}

async function storeImage(request: FastifyRequest, reply: FastifyReply, parts: TeamRouteParts): Promise<FastifyReply> {
  const mode = modeOf(request, parts)
  const caller = callerOf(request)
  const { pipeline, images } = mode
  const { image } = await receiveUpload(request, parts, IMAGE_FORM)
  const scope = scopeOf(caller, mode)
  const bytes = await bytesOf({ image, scope, holdBuffer: request.hold.addBuffer }, pipeline)
  const { frame } = await pipeline.checkImage(bytes, NO_PARAMS)
  const storing = images.store(scope, bytes, caller.team.id)
  const expiresAt = await orStoreUnavailable(storing, 'The image cannot be stored')
  if (expiresAt === undefined) {
    const detail = 'This gateway stores no images (IMAGE_TTL_SECONDS is 0). Send the image with each request.'
    throw new GatewayError('not_found', detail)
  }
  const id = `sha256:${image.digest}`
  return reply.headers({ 'cache-control': 'no-store', 'x-image-id': id }).send({
    image: id,
    ...frame,
    type: `image/${bytes.type}`,
    bytes: bytes.byteLength,
    expires: new Date(expiresAt).toISOString(),
  })
}

function parseImageId(id: string): string | undefined {
  return IMAGE_ID.exec(id)?.[1]?.toLowerCase()
}

function unknownImage(): GatewayError {
  return new GatewayError('unknown_image', 'The gateway does not hold this image; send its bytes.')
}
