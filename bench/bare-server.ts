import { createServer } from 'node:http'

// The baseline of the ratios: reads the body into one buffer and responds with 150 KB.
const picture = Buffer.alloc(150_000, 1)
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', () => {
    Buffer.concat(chunks)
    response.writeHead(200, { 'content-type': 'image/jpeg', 'content-length': picture.length }).end(picture)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(
    JSON.stringify({ msg: 'listening', url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}` }),
  )
})
