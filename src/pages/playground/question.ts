import type { Point, Selection } from '../../client/index.js'
import type { MarkedPoint } from './points.js'

/** What a picture is asked for; run-length encoding is only downloaded. */
export type Output = 'overlay' | 'mask' | 'cutout'

export interface Question {
  prompt: string
  points: readonly MarkedPoint[]
  output: Output
}

/** What the gateway is asked; undefined when nothing is selected. Beside a prompt points mean nothing and are not sent. */
export function selectionOf({ prompt, points, output }: Question): Selection | undefined {
  const words = prompt.trim()
  if (words !== '') return { prompt: words, output }
  const coordinates = marked(points, 'add')
  const removeCoordinates = marked(points, 'remove')
  if (coordinates.length === 0) return undefined
  return { coordinates, ...(removeCoordinates.length > 0 && { removeCoordinates }), output }
}

/** Whether two questions are about the same thing, in whatever form it shall come. */
export function isSameThing(one: Question, other: Question): boolean {
  const about = (question: Question) => JSON.stringify(selectionOf({ ...question, output: 'mask' }))
  return about(one) === about(other)
}

/** The name of the file that an answer is saved in. */
export function fileNameOf(photo: string, output: string, contentType: string): string {
  const stem = photo.replace(/\.[^.]*$/, '') || 'picture'
  const ending = { 'image/jpeg': 'jpg', 'image/png': 'png', 'image/webp': 'webp', 'application/json': 'json' }[
    contentType
  ]
  return `${stem}-${output}.${ending ?? 'bin'}`
}

function marked(points: readonly MarkedPoint[], wanted: MarkedPoint['mark']): Point[] {
  return points.filter(({ mark }) => mark === wanted).map(({ x, y }) => [x, y])
}
