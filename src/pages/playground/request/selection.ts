import type { Point as Coordinates, Selection } from '../../../client/index.js'
import type { Point, PointKind } from '../image/points.js'

/** The forms that are displayed. Others are only downloaded (`ExportForm`). */
export type Output = 'overlay' | 'mask' | 'cutout'

/** The state of the request form. */
export interface SelectionInput {
  prompt: string
  points: readonly Point[]
  output: Output
}

/** Returns the selection, or undefined if it is empty. A prompt replaces the points. */
export function selectionOf({ prompt, points, output }: SelectionInput): Selection | undefined {
  const text = prompt.trim()
  if (text !== '') return { prompt: text, output }
  const coordinates = coordinatesOf(points, 'include')
  const removeCoordinates = coordinatesOf(points, 'exclude')
  if (coordinates.length === 0) return undefined
  return { coordinates, ...(removeCoordinates.length > 0 && { removeCoordinates }), output }
}

/** Compares two inputs without their output. */
export function isSameSelection(one: SelectionInput, other: SelectionInput): boolean {
  const key = (input: SelectionInput) => JSON.stringify(selectionOf({ ...input, output: 'mask' }))
  return key(one) === key(other)
}

/** Returns a name to save a result under. */
export function fileNameOf(imageName: string, output: string, contentType: string): string {
  const stem = imageName.replace(/\.[^.]*$/, '') || 'image'
  return `${stem}-${output}.${EXTENSIONS[contentType] ?? 'bin'}`
}

const EXTENSIONS: Readonly<Record<string, string>> = {
  'image/jpeg': 'jpg',
  'image/png': 'png',
  'image/webp': 'webp',
  'application/json': 'json',
  'application/geo+json': 'geojson',
  'text/plain': 'txt',
}

function coordinatesOf(points: readonly Point[], wanted: PointKind): Coordinates[] {
  return points.filter(({ kind }) => kind === wanted).map(({ x, y }) => [x, y])
}
