import { Readable } from 'node:stream'

/**
 * Creates a stream of bytes that were already read from a body, followed by the rest of the body.
 * Reads the rest no faster than the new stream is read.
 */
export function replay(body: Readable, received: readonly Buffer[]): Readable {
  const all = new Readable({ read: () => void body.resume() })
  for (const bytes of received) all.push(bytes)
  if (body.readableEnded) {
    all.push(null)
    return all
  }
  body.pause()
  body.on('data', chunk => {
    if (!all.push(chunk)) body.pause()
  })
  body.on('end', () => all.push(null))
  body.on('close', () => {
    if (!body.readableEnded) all.destroy(body.errored ?? undefined)
  })
  return all
}
