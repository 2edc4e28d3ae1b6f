// Segments a photo through the gateway: node examples/client.mjs PHOTO PROMPT [OUTPUT]
//
// Needs nothing but Node.js. SEGMIND_GATEWAY_URL defaults to http://localhost:8080, SEGMIND_GATEWAY_KEY is the team's key.
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

const { SEGMIND_GATEWAY_URL: url = 'http://localhost:8080', SEGMIND_GATEWAY_KEY: key = '' } = process.env
const ATTEMPTS = 3

const [photo, prompt, output = 'segmented.jpg'] = process.argv.slice(2)
if (prompt === undefined) {
  console.error('node examples/client.mjs PHOTO PROMPT [OUTPUT]')
  process.exit(2)
}
const answer = await segment(photo, prompt).catch(error => {
  console.error(`${photo}: ${error.cause?.message ?? error.message}`)
  process.exit(1)
})
await writeFile(output, Buffer.from(await answer.arrayBuffer()))
console.log(`${answer.headers.get('x-cache')}, cost ${answer.headers.get('x-cost')} credits → ${output}`)

/** Answers the response that holds the picture; waits and tries again where the gateway says that this may help. */
async function segment(photo, prompt, attempt = 1) {
  const body = new FormData()
  body.set('image', await openAsBlob(photo))
  body.set('prompt', prompt)
  const response = await fetch(`${url}/segment`, { method: 'POST', headers: { 'x-api-key': key }, body })
  if (response.ok) return response
  const problem = await response.json()
  if (!problem.retryable || attempt === ATTEMPTS) {
    console.error(`${problem.status} ${problem.code}: ${problem.detail} (request ${problem.requestId})`)
    process.exit(1)
  }
  await wait(1000 * Number(response.headers.get('retry-after') ?? 2 ** attempt))
  return segment(photo, prompt, attempt + 1)
}
