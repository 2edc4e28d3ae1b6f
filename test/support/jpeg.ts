import sharp from 'sharp'

/** A small JPEG, another one for every number, always the same for one. */
export function otherJpeg(number: number): Promise<Buffer> {
  const [red, green, blue] = [number & 255, (number >> 8) & 255, (number >> 16) & 255]
  return sharp({ create: { width: 16, height: 8, channels: 3, background: { r: red, g: green, b: blue } } })
    .jpeg({ quality: 100 })
    .withExif({ IFD0: { ImageDescription: String(number) } })
    .toBuffer()
}
