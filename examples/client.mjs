// Segments a photo through the gateway: node examples/client.mjs PHOTO PROMPT [OUTPUT]
//
// Uses the gateway's client (built by npm run build; dist/client can be packed for another
// project). It uploads the photo only if the gateway does not hold it, and retries retryable
// errors. SEGMIND_GATEWAY_URL defaults to http://localhost:8080. SEGMIND_GATEWAY_KEY is the team
// key.
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createClient, GatewayProblem } from '../dist/client/index.js'

const { SEGMIND_GATEWAY_URL: url = 'http://localhost:8080', SEGMIND_GATEWAY_KEY: key = '' } = process.env
const [photo, prompt, output = 'segmented.jpg'] = process.argv.slice(2)
if (prompt === undefined) {
  console.error('node examples/client.mjs PHOTO PROMPT [OUTPUT]')
  process.exit(2)
}
try {
  const image = await openAsBlob(photo)
  const client = createClient({ url, key })
  const answer = await client.segment(image, { prompt }, { signal: AbortSignal.timeout(90_000) })
  await writeFile(output, answer.bytes)
  const { cache, cost, isUploaded } = answer
  console.log(`${cache}, cost ${cost} credits, ${isUploaded ? 'photo sent' : 'photo known'} → ${output}`)
} catch (error) {
  const { status, code, message, requestId } = error
  if (error instanceof GatewayProblem) console.error(`${status} ${code}: ${message} (request ${requestId ?? '?'})`)
  else console.error(`${photo}: ${message}`)
  process.exitCode = 1
}
