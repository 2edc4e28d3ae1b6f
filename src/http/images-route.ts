import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Params } from '../segment/types.js'
import { IMAGE_FORM } from '../segment/upload.js'
import { laneOf } from './answer-question.js'
import { callerOf } from './facts.js'
import { fromStore } from './from-store.js'
import type { Lane, LaneParts } from './lane.js'
import { receiveUpload } from './receive-form.js'
import { addUploadRoute } from './upload-route.js'

const ID = /^sha256:([0-9a-f]{64})$/i
const NO_PARAMS: Params = { overlayMask: true }

interface ImageRequest {
  Params: { id: string }
}

/** Upload once, ask often: `POST /images`, and `HEAD` and `DELETE /images/{id}`. All of it is free. */
export function addImagesRoutes(app: FastifyInstance, parts: LaneParts): void {
  addUploadRoute(app, parts, {
    url: '/images',
    form: IMAGE_FORM,
    handle: (request, reply) => storeImage(request, reply, parts),
  })
  app.head<ImageRequest>('/images/:id', async (request, reply) => {
    const lane = laneOf(request, parts)
    const digest = digestIn(request.params.id)
    if (digest === undefined || !(await lane.images.has(scopeOf(request, lane), digest))) throw unknownImage()
    return reply.headers({ 'x-image-id': `sha256:${digest}`, 'cache-control': 'no-store' }).send()
  })
  app.delete<ImageRequest>('/images/:id', async (request, reply) => {
    const lane = laneOf(request, parts)
    const digest = digestIn(request.params.id)
    const scope = scopeOf(request, lane)
    const outcome =
      digest === undefined
        ? 'unknown'
        : await fromStore('The image cannot be deleted', lane.images.drop(scope, digest, callerOf(request).team.id))
    if (outcome === 'unknown') throw unknownImage()
    if (outcome === 'foreign')
      throw new GatewayError(
        'forbidden',
        'Another team has sent this image; only a team that has sent it may delete it.',
      )
    return reply.code(204).header('cache-control', 'no-store').send()
  })
}

async function storeImage(request: FastifyRequest, reply: FastifyReply, parts: LaneParts): Promise<FastifyReply> {
  const lane = laneOf(request, parts)
  const { pipeline } = lane
  const { image } = await receiveUpload(request, parts, IMAGE_FORM)
  const scope = scopeOf(request, lane)
  const bytes = image.uploaded ?? (await pipeline.images.find(scope, image.digest))
  if (!bytes) throw unknownImage()
  const { width, height } = await pipeline.checkImage(bytes, NO_PARAMS)
  const expiresAt = await fromStore(
    'The image cannot be kept',
    lane.images.store(scope, bytes, callerOf(request).team.id),
  )
  if (expiresAt === undefined)
    throw new GatewayError(
      'not_found',
      'This gateway keeps no images (IMAGE_TTL_SECONDS is 0); send them with each question.',
    )
  const id = `sha256:${image.digest}`
  return reply.headers({ 'cache-control': 'no-store', 'x-image-id': id }).send({
    ...{ image: id, width, height, type: `image/${bytes.type}`, bytes: bytes.byteLength },
    expires: new Date(expiresAt).toISOString(),
  })
}

function digestIn(id: string): string | undefined {
  return ID.exec(id)?.[1]?.toLowerCase()
}

function scopeOf(request: FastifyRequest, { pipeline }: Lane): string {
  return pipeline.cacheScope === 'team' ? callerOf(request).team.id : ''
}

function unknownImage(): GatewayError {
  return new GatewayError('unknown_image', 'The gateway does not hold this image; send its bytes.')
}
