import type { Size } from '../../contracts/types.js'

/** A chunk: from its name to the end of its data, without the byte that makes its length even. */
export interface WebpChunk {
  type: string
  start: number
  end: number
}

export interface WebpStructure {
  /** From the first chunk; absent where it has none. */
  size?: Size
  chunks: WebpChunk[]
  /** The file is as long as it says, every chunk fits, and there is a picture. */
  isWhole: boolean
  /** Position behind the last chunk, or where the file breaks off. */
  end: number
}

const HEADER_BYTES = 12
const CHUNK_HEADER_BYTES = 8
const PICTURES: ReadonlySet<string> = new Set(['VP8 ', 'VP8L', 'ANMF'])

/** Reads the chunks of a WebP (RFC 9649) without decoding them. */
export function readWebp(bytes: Buffer): WebpStructure {
  const chunks: WebpChunk[] = []
  const broken = { chunks, isWhole: false, end: bytes.length }
  if (bytes.length < HEADER_BYTES) return broken
  const end = CHUNK_HEADER_BYTES + bytes.readUInt32LE(4)
  if (end > bytes.length) return broken
  for (let start = HEADER_BYTES; start + CHUNK_HEADER_BYTES <= end; ) {
    const dataEnd = start + CHUNK_HEADER_BYTES + bytes.readUInt32LE(start + 4)
    if (dataEnd > end) return broken
    chunks.push({ type: bytes.toString('latin1', start, start + 4), start, end: dataEnd })
    start = dataEnd + (dataEnd % 2)
  }
  return { chunks, isWhole: chunks.some(({ type }) => PICTURES.has(type)), end, ...sizeOf(bytes, chunks) }
}

/** The size of the canvas (VP8X), or of the only picture (VP8: RFC 6386, VP8L: RFC 9649). */
function sizeOf(bytes: Buffer, [first]: readonly WebpChunk[]): { size?: Size } {
  const data = first && bytes.subarray(first.start + CHUNK_HEADER_BYTES, first.end)
  if (!first || !data || data.length < 10) return {}
  if (first.type === 'VP8X') return { size: { width: data.readUIntLE(4, 3) + 1, height: data.readUIntLE(7, 3) + 1 } }
  if (first.type === 'VP8 ')
    return { size: { width: data.readUInt16LE(6) & 0x3fff, height: data.readUInt16LE(8) & 0x3fff } }
  if (first.type !== 'VP8L') return {}
  const bits = data.readUInt32LE(1)
  return { size: { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 } }
}
