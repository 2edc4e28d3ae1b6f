import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The metrics' own listener (`METRICS_PORT`): `GET /metrics`, nothing else. Resolves once it listens. */
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
  await listening(server, options)
  return { port: (server.address() as AddressInfo).port, close: () => closed(server) }
}

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
}

function closed(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
