import type { ImageBytes, Params, Point } from '../contracts/types.js'

/** Paths of Segmind's API (docs/segmind.md, Request and Response). */
export const SEGMENT_PATH = '/v1/sam-v2-image'
export const SUBMIT_PATH = '/v2/sam-v2-image'
export const BALANCE_PATH = '/v1/get-user-credits'

/** A request body of known length, encoded only when a socket is ready to send it. */
export interface WireBody {
  byteLength: number
  /** Encodes the body at every call, so that no copy is kept for a retry. */
  encode(): Buffer
}

const HEAD = '{"image":"'
/** Divisible by 3, so that only the last slice of an image is padded. */
const SLICE_BYTES = 48 * 1024

/**
 * Builds the JSON body of one call: the image as base64, the parameters under Segmind's names,
 * always `base64: false`. `encode` writes the image's chunks directly into one allocation of the
 * exact size, without an intermediate copy.
 */
export function segmentBody(image: ImageBytes, params: Params): WireBody {
  const imageBytes = image.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const tail = `",${JSON.stringify(wireParams(params)).slice(1)}`
  const byteLength = HEAD.length + Math.ceil(imageBytes / 3) * 4 + Buffer.byteLength(tail)
  return {
    byteLength,
    encode() {
      const body = Buffer.allocUnsafeSlow(byteLength)
      let end = body.write(HEAD, 0, 'latin1')
      end = writeBase64(body, end, image.chunks)
      end += body.write(tail, end, 'utf8')
      // The allocation is not zeroed: an unwritten byte would leak process memory.
      if (end !== byteLength) throw new Error(`the request body has ${end} bytes where ${byteLength} were planned`)
      return body
    },
  }
}

/**
 * Writes the chunks as base64. A group of 3 bytes may span chunks of any length. Returns the end
 * offset.
 */
function writeBase64(target: Buffer, start: number, chunks: readonly Buffer[]): number {
  const group = Buffer.alloc(3)
  let held = 0
  let end = start
  for (const chunk of chunks) {
    let from = 0
    if (held > 0) {
      from = chunk.copy(group, held, 0, 3 - held)
      held += from
      if (held < 3) continue
      end += target.write(group.toString('base64'), end, 'latin1')
    }
    const to = chunk.length - ((chunk.length - from) % 3)
    end = writeSlices(target, end, chunk.subarray(from, to))
    held = chunk.copy(group, 0, to)
  }
  return end + target.write(group.toString('base64', 0, held), end, 'latin1')
}

function writeSlices(target: Buffer, start: number, bytes: Buffer): number {
  let end = start
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    end += target.write(bytes.toString('base64', at, Math.min(at + SLICE_BYTES, bytes.length)), end, 'latin1')
  }
  return end
}

/**
 * Omits coordinates when there is a prompt, because Segmind ignores them. Points are sent as
 * strings that contain JSON.
 */
function wireParams(params: Params): Record<string, string | boolean> {
  return {
    ...(params.prompt === undefined ? points('coordinates', params.coordinates) : { prompt: params.prompt }),
    ...points('remove_coordinates', params.removeCoordinates),
    overlay_mask: params.overlayMask,
    base64: false,
  }
}

function points(name: string, list: readonly Point[] | undefined): Record<string, string> {
  return list === undefined || list.length === 0 ? {} : { [name]: JSON.stringify(list) }
}
