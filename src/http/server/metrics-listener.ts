import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Serves `GET /metrics`, and nothing else, on `METRICS_PORT`. Resolves once it listens. */
export async function listenForMetrics(options: {
  host: string
  port: number
  expose(): Promise<{ contentType: string; text: string }>
}): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.url?.split('?', 1)[0] !== '/metrics') return void response.writeHead(404).end()
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
    options.expose().then(
      ({ contentType, text }) => response.writeHead(200, { 'content-type': contentType }).end(text),
      () => response.writeHead(500).end(),
    )
  })
  await listen(server, options)
  return { port: (server.address() as AddressInfo).port, close: () => close(server) }
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
