export type { SegmentAnswer } from './answer.js'
export type * from './api.js'
export type { BatchItem } from './batch.js'
export {
  type BatchSelection,
  type Client,
  type ClientOptions,
  createClient,
  type RequestOptions,
  type SegmentOptions,
} from './client.js'
export type { ImageInput } from './image.js'
export { type ClientCode, GatewayProblem } from './problem.js'
export type { Point, Selection } from './selection.js'
export type { OnProgress, Progress } from './upload.js'
