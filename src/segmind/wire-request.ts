import type { ImageBytes, Params, Point } from '../segment/types.js'

/** Where Segmind segments, and where it tells the account's balance (SEGMIND.md, Request and Response). */
export const SEGMENT_PATH = '/v1/sam-v2-image'
export const SUBMIT_PATH = '/v2/sam-v2-image'
export const BALANCE_PATH = '/v1/get-user-credits'

/** A request body that is known by its length and made only when a socket is ready to take it. */
export interface WireBody {
  byteLength: number
  /** Makes the body anew on every call: nobody has to keep it for another attempt. */
  encode(): Buffer
}

const HEAD = '{"image":"'
/** Divisible by 3, so that no slice but an image's last one is padded. */
const SLICE_BYTES = 48 * 1024

/**
 * Describes the JSON body of one call: the image as base64, the parameters in Segmind's words, always `base64: false`.
 * `encode` fills one allocation of the exact size straight from the image's chunks; the image is never copied in between.
 */
export function segmentBody(image: ImageBytes, params: Params): WireBody {
  const imageBytes = image.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const tail = `",${JSON.stringify(wireParams(params)).slice(1)}`
  const byteLength = HEAD.length + Math.ceil(imageBytes / 3) * 4 + Buffer.byteLength(tail)
  return { byteLength, encode: () => encode(image.chunks, tail, byteLength) }
}

function encode(chunks: readonly Buffer[], tail: string, byteLength: number): Buffer {
  const body = Buffer.allocUnsafeSlow(byteLength)
  let end = body.write(HEAD, 0, 'latin1')
  end = writeBase64(body, end, chunks)
  end += body.write(tail, end, 'utf8')
  // The allocation holds what was in memory before: not one byte of it may leave the process.
  if (end !== byteLength) throw new Error(`the request body has ${end} bytes where ${byteLength} were planned`)
  return body
}

/** Base64 turns groups of 3 bytes into 4 characters; a group may lie across chunks of any length. Answers where it ended. */
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

/** With a prompt, coordinates mean nothing to Segmind; points travel as strings that hold JSON. */
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
