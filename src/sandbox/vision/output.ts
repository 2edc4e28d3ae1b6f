import type { Picture } from './photo.js'

const TINT = [30, 144, 255]
const TINT_STRENGTH = 0.5
const OUTLINE = 255
const HALF = 128

/** Tints the selection in a photo and draws its outline, in place. */
export function drawOverlay({ width, height, rgb }: Picture, coverage: Uint8Array): void {
  const thickness = Math.max(1, Math.round(Math.max(width, height) / 320))
  const offsets = [-thickness, 0, thickness]
  const isOutside = (x: number, y: number) =>
    x >= 0 && x < width && y >= 0 && y < height && (coverage[y * width + x] ?? 0) < HALF
  for (let pixel = 0; pixel < coverage.length; pixel++) {
    const share = ((coverage[pixel] ?? 0) / 255) * TINT_STRENGTH
    if (share === 0) continue
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    const isOutline = !isOutside(x, y) && offsets.some(across => offsets.some(down => isOutside(x + across, y + down)))
    for (const [channel, tint] of TINT.entries()) {
      const tinted = (rgb[3 * pixel + channel] ?? 0) * (1 - share) + tint * share
      rgb[3 * pixel + channel] = isOutline ? OUTLINE : Math.round(tinted)
    }
  }
}
