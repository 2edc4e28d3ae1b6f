import type { Size } from '../../contracts/types.js'

/** A marker segment: from its 0xFF to the end of its data. */
export interface JpegSegment {
  marker: number
  start: number
  end: number
}

export interface JpegStructure {
  /** From the frame header; absent where there is none. */
  size?: Size
  /** Segments with data, in order. Those between scans are included. */
  segments: JpegSegment[]
  /** It ends with its end marker, after at least one scan. */
  isWhole: boolean
  /** Position behind the end marker, or where the file breaks off. */
  end: number
}

const END = 0xd9
/** Marker of a scan, behind which coded data follows. */
export const SCAN = 0xda
/** Marker, length, precision and size. */
const FRAME_BYTES = 9
/** Frame headers (SOF0 to SOF15), without the three other markers among them (DHT, JPG, DAC). */
const isFrame = (marker: number) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
/** Markers without data: TEM and the restart markers. */
const isBare = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)

/**
 * Reads the marker segments of a JPEG (ITU-T T.81, Annex B) without decoding them. Bytes behind the
 * end marker belong to other pictures or to none.
 */
export function readJpeg(bytes: Buffer): JpegStructure {
  const segments: JpegSegment[] = []
  for (let position = 2; ; ) {
    const start = nextMarker(bytes, position)
    const marker = bytes[start + 1]
    if (marker === undefined) return { segments, isWhole: false, end: bytes.length }
    if (marker === END) return { segments, isWhole: hasScan(segments), end: start + 2, ...sizeOf(bytes, segments) }
    position = start + 2
    if (isBare(marker)) continue
    const length = position + 2 <= bytes.length ? bytes.readUInt16BE(position) : Number.POSITIVE_INFINITY
    const end = position + length
    if (length < 2 || end > bytes.length) return { segments, isWhole: false, end: bytes.length }
    segments.push({ marker, start, end })
    position = marker === SCAN ? endOfScan(bytes, end) : end
  }
}

function hasScan(segments: readonly JpegSegment[]): boolean {
  return segments.some(({ marker }) => marker === SCAN)
}

function sizeOf(bytes: Buffer, segments: readonly JpegSegment[]): { size?: Size } {
  const frame = segments.find(({ marker }) => isFrame(marker))
  if (!frame || frame.end - frame.start < FRAME_BYTES) return {}
  return { size: { height: bytes.readUInt16BE(frame.start + 5), width: bytes.readUInt16BE(frame.start + 7) } }
}

/** Finds the next marker's 0xFF. Decoders skip bytes before it, and fill bytes. */
function nextMarker(bytes: Buffer, from: number): number {
  let position = bytes.indexOf(0xff, from)
  if (position < 0) return bytes.length
  while (bytes[position + 1] === 0xff) position++
  return position
}

/**
 * Finds the first marker behind coded data, in which 0xFF 0x00 is a byte and restart markers occur.
 */
function endOfScan(bytes: Buffer, from: number): number {
  for (let position = from; ; position += 2) {
    position = nextMarker(bytes, position)
    const next = bytes[position + 1]
    if (next === undefined || (next !== 0 && !isBare(next))) return position
  }
}
