import { connect, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

/** Orders to a worker, which has an event loop of its own, so that the attack delays no measurement. */
export interface CrowdOrders {
  port: number
  key: string
  /** Result that the readers ask for and do not read. */
  resultId: string
  photo: Uint8Array
  /** Size of the body of each upload. */
  bytes: number
  uploads: number
  readers: number
  stalled: number
}

const { port, key, resultId, photo, bytes, uploads, readers, stalled } = workerData as CrowdOrders
const PROMPT = '--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n'
const IMAGE =
  '\r\n--b\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n'
const END = '\r\n--b--\r\n'
const HEAD =
  `POST /segment HTTP/1.1\r\nhost: a\r\nx-api-key: ${key}\r\nconnection: close\r\n` +
  `content-type: multipart/form-data; boundary=b\r\ncontent-length: ${bytes}\r\n\r\n`
const filler = Buffer.alloc(bytes, 7)
filler.set(photo)

const ask = `GET /results/${resultId}?base64=true HTTP/1.1\r\nhost: a\r\nx-api-key: ${key}\r\n\r\n`
for (let at = 0; at < readers; at++) open(ask)
for (let at = 0; at < stalled; at++) open(`${HEAD}${PROMPT}stalled${IMAGE}`)
const statuses: Record<string, number> = {}
const results = await Promise.all(Array.from({ length: uploads }, (_, index) => upload(index)))
for (const status of results) statuses[status] = (statuses[status] ?? 0) + 1
parentPort?.postMessage(statuses)

/** Opens a connection, sends `text` and reads nothing. */
function open(text: string): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {}).pause()
  socket.write(text)
  return socket
}

/** Resolves with the status of the upload, or the reason for none. */
function upload(index: number): Promise<string> {
  const start = `${PROMPT}${index}${IMAGE}`
  const socket = connect(port, '127.0.0.1')
  socket.write(HEAD + start)
  socket.write(filler.subarray(0, bytes - start.length - END.length))
  socket.write(END)
  return new Promise(resolve => {
    socket.once('data', data => {
      resolve(data.toString('latin1').split(' ')[1] ?? 'no status')
      socket.destroy()
    })
    socket.once('error', error => resolve((error as NodeJS.ErrnoException).code ?? error.name))
    socket.once('close', () => resolve('closed'))
  })
}
