import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below the ports that systems give to outgoing connections, which could take one meanwhile. */
const FIRST = 18_000
const COUNT = 12_000
const ATTEMPTS = 50

/** Returns a port of this machine that is free now. */
export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    const server = createServer()
    try {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      server.close()
      await once(server, 'close')
      return port
    } catch (error) {
      if (attempt === ATTEMPTS) throw error
    }
  }
}
