// A labelling loop: node examples/labelling.mjs PHOTO [OUTPUT] < CLICKS
//
// Reads one click a line, `x,y` or `x,y label`, and prints the box and the area of the selected
// object. The photo is uploaded with the first click, unless the gateway already holds it. A click
// that was paid for before costs nothing. At the end of the input, OUTPUT (default
// annotations.json) has the annotations in COCO format. SEGMIND_GATEWAY_URL and SEGMIND_GATEWAY_KEY
// as for client.mjs.
//
//   printf '290,200 cup\n470,260 saucer\n' | node examples/labelling.mjs examples/photos/coffee.jpg
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { createClient, GatewayProblem } from '../dist/client/index.js'

const { SEGMIND_GATEWAY_URL: url = 'http://localhost:8080', SEGMIND_GATEWAY_KEY: key = '' } = process.env
const CLICK = /^\s*(\d+)\s*,\s*(\d+)\s*(.*?)\s*$/

const [photo, output = 'annotations.json'] = process.argv.slice(2)
if (photo === undefined) {
  console.error('node examples/labelling.mjs PHOTO [OUTPUT] < CLICKS')
  process.exit(2)
}
const image = await openAsBlob(photo).catch(error => {
  console.error(error.message)
  process.exit(1)
})
const client = createClient({ url, key })
const labels = ['thing']
const annotations = []
let size = {}
let spent = 0
let sentBytes = 0

if (process.stdin.isTTY) console.log('Clicks, one a line, such as: 290,200 cup. Ctrl-D ends.')
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue
  await label(line).catch(error => {
    if (!(error instanceof GatewayProblem)) throw error
    console.error(`${line}: ${error.code}: ${error.message}`)
    process.exitCode = 1
    // A wrong key or a missing gateway fails every click.
    if (error.status === 0 || error.status === 401 || error.status === 403) process.exit()
  })
}
await writeFile(output, JSON.stringify(asCoco(), undefined, 1))
console.log(
  `${annotations.length} annotations, ${spent.toFixed(9)} credits, ${sentBytes} bytes of photo sent → ${output}`,
)

async function label(line) {
  const [, x, y, name] = CLICK.exec(line) ?? []
  if (x === undefined) throw new GatewayProblem('a click is x,y or x,y label', { code: 'invalid_request', status: 400 })
  const answer = await client.segment(image, { coordinates: [[Number(x), Number(y)]], output: 'rle' })
  const { cache, cost, isUploaded } = answer
  const {
    counts,
    size: [height, width],
    bbox,
    area,
  } = answer.json()
  size = { width, height }
  spent += cost
  if (isUploaded) sentBytes += image.size
  if (name !== '' && !labels.includes(name)) labels.push(name)
  annotations.push({
    ...{ id: annotations.length + 1, image_id: 1, category_id: labels.indexOf(name || 'thing') + 1, iscrowd: 0 },
    ...{ segmentation: { counts, size: [height, width] }, bbox, area },
  })
  console.log(`${x},${y} ${name || 'thing'}: box ${bbox.join(' ')}, ${area} pixels, ${cache}, ${cost} credits`)
}

function asCoco() {
  return {
    images: [{ id: 1, file_name: basename(photo), ...size }],
    categories: labels.map((name, index) => ({ id: index + 1, name })),
    annotations,
  }
}
