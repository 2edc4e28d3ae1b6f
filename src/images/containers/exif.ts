const LITTLE = 'II'
const BIG = 'MM'
const TIFF_VERSION = 42
const ENTRY_BYTES = 12
const TAG = { orientation: 0x0112, gps: 0x8825 } as const
const SHORT = 3

/** Facts of EXIF data, which is a TIFF file. The prefix that JPEG adds is not part of it. */
export interface ExifFacts {
  /** 1 to 8. 1 where it is missing or invalid. */
  orientation: number
  /** It has a directory of GPS data, or cannot be read. */
  mayHaveLocation: boolean
}

/** Reads the first directory of EXIF data. */
export function readExif(tiff: Buffer): ExifFacts {
  const order = tiff.toString('latin1', 0, 2)
  if ((order !== LITTLE && order !== BIG) || tiff.length < 8) return { orientation: 1, mayHaveLocation: true }
  const short = (at: number) => (order === LITTLE ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at))
  const directory = order === LITTLE ? tiff.readUInt32LE(4) : tiff.readUInt32BE(4)
  if (short(2) !== TIFF_VERSION || directory + 2 > tiff.length) return { orientation: 1, mayHaveLocation: true }
  const end = directory + 2 + short(directory) * ENTRY_BYTES
  const facts = { orientation: 1, mayHaveLocation: end > tiff.length }
  for (let entry = directory + 2; entry + ENTRY_BYTES <= Math.min(end, tiff.length); entry += ENTRY_BYTES) {
    const tag = short(entry)
    if (tag === TAG.gps) facts.mayHaveLocation = true
    const value = short(entry + 8)
    if (tag === TAG.orientation && short(entry + 2) === SHORT && value >= 1 && value <= 8) facts.orientation = value
  }
  return facts
}

/** Makes EXIF data with nothing but an orientation. */
export function exifOf(orientation: number): Buffer {
  const tiff = Buffer.alloc(26)
  tiff.write(BIG, 0, 'latin1')
  tiff.writeUInt16BE(TIFF_VERSION, 2)
  tiff.writeUInt32BE(8, 4)
  tiff.writeUInt16BE(1, 8)
  tiff.writeUInt16BE(TAG.orientation, 10)
  tiff.writeUInt16BE(SHORT, 12)
  tiff.writeUInt32BE(1, 14)
  tiff.writeUInt16BE(orientation, 18)
  return tiff
}
