import { crc32 } from 'node:zlib'
import type { Size } from '../../contracts/types.js'

/** A chunk: from its length to its check sum. */
export interface PngChunk {
  type: string
  start: number
  end: number
}

export interface PngStructure {
  /** From the header; absent where it is missing. */
  size?: Size
  chunks: PngChunk[]
  /** It begins with a header and ends with its end chunk, and no critical chunk is damaged. */
  isWhole: boolean
  /** Position behind the end chunk, or where the file breaks off. */
  end: number
}

const SIGNATURE_BYTES = 8
/** Length, type and check sum of a chunk. */
const FRAME_BYTES = 12

/** Reads the chunks of a PNG (ISO/IEC 15948) without decoding them. */
export function readPng(bytes: Buffer): PngStructure {
  const chunks: PngChunk[] = []
  for (let start = SIGNATURE_BYTES; start + FRAME_BYTES <= bytes.length; ) {
    const end = start + FRAME_BYTES + bytes.readUInt32BE(start)
    const type = bytes.toString('latin1', start + 4, start + 8)
    if (end > bytes.length) break
    if (isCritical(type) && crc32(bytes.subarray(start + 4, end - 4)) !== bytes.readUInt32BE(end - 4)) break
    chunks.push({ type, start, end })
    if (type === 'IEND') return { chunks, isWhole: hasPicture(chunks), end, ...sizeOf(bytes, chunks) }
    start = end
  }
  return { chunks, isWhole: false, end: bytes.length }
}

/** Decoders must understand a chunk whose name begins with a capital letter. */
function isCritical(type: string): boolean {
  return /^[A-Z]/.test(type)
}

function hasPicture(chunks: readonly PngChunk[]): boolean {
  return chunks[0]?.type === 'IHDR' && chunks.some(({ type }) => type === 'IDAT')
}

function sizeOf(bytes: Buffer, [header]: readonly PngChunk[]): { size?: Size } {
  if (header?.type !== 'IHDR' || header.end - header.start < FRAME_BYTES + 8) return {}
  return { size: { width: bytes.readUInt32BE(header.start + 8), height: bytes.readUInt32BE(header.start + 12) } }
}
