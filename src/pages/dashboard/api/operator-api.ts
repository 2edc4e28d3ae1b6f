import { networkProblem, readProblem, unreadableAnswer } from '../../../client/problem.js'

export interface Session {
  key: string
  /** Operator name for the audit log, or ''. */
  name: string
}

/** Calls the operator API of this gateway. Every method throws `GatewayProblem`. */
export class OperatorApi {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  async get<T>(path: string): Promise<T> {
    return readJson<T>(await this.open(path))
  }

  async send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T> {
    const content = body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    return readJson<T>(await this.open(path, { method, ...content }))
  }

  /** Sends the key in a header, never in the URL, because URLs end up in logs. */
  async open(path: string, init: RequestInit = {}): Promise<Response> {
    const { key, name } = this.#session
    const headers = new Headers(init.headers)
    headers.set('x-api-key', key)
    if (name !== '') headers.set('x-operator', name)
    const options: RequestInit = { ...init, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' }
    const response = await fetch(`/admin${path}`, options).catch((error: unknown) => {
      throw networkProblem(error)
    })
    if (response.ok) return response
    throw await readProblem(response)
  }
}

async function readJson<T>(response: Response): Promise<T> {
  return (await response.json().catch((cause: unknown) => {
    throw unreadableAnswer(response, cause)
  })) as T
}
