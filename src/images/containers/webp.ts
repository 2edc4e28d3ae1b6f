/** A chunk: from its name to the end of its data, without the byte that makes its length even. */
export interface WebpChunk {
  type: string
  start: number
  end: number
}

export interface WebpStructure {
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
  return { chunks, isWhole: chunks.some(({ type }) => PICTURES.has(type)), end }
}
