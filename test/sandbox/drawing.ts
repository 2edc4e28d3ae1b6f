import sharp from 'sharp'

/** Draws a red disc (left) and a blue square (right) on grey, 120 × 80 pixels. */
export function discAndSquare(): Promise<Buffer> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"><rect width="120" height="80" fill="#b8b8b0"/>
    <circle cx="36" cy="40" r="20" fill="#d02020"/><rect x="76" y="24" width="30" height="30" fill="#2038c0"/></svg>`
  return sharp(Buffer.from(svg)).png().toBuffer()
}

export interface MaskPicture {
  width: number
  height: number
  /** Returns whether the pixel (x, y) is selected. */
  at: (x: number, y: number) => boolean
  /** Number of selected pixels. */
  selected: number
}

/** Decodes a black and white mask. */
export async function readMask(jpeg: Uint8Array): Promise<MaskPicture> {
  const { data, info } = await sharp(jpeg).greyscale().raw().toBuffer({ resolveWithObject: true })
  return {
    width: info.width,
    height: info.height,
    at: (x, y) => (data[y * info.width + x] ?? 0) >= 128,
    selected: data.filter(value => value >= 128).length,
  }
}
