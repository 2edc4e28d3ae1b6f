import { asProblem, problemOf } from './problem.js'

export interface Session {
  key: string
  /** Who looks on, for the audit log; empty where nobody said. */
  name: string
}

/** The operators' doors of the gateway that served this page. Everything throws `Problem`. */
export class Api {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  async get<T>(path: string): Promise<T> {
    return this.#json<T>(await this.open(path))
  }

  async send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T> {
    const content = body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    return this.#json<T>(await this.open(path, { method, ...content }))
  }

  /** The key goes into a header: never into an address, which ends up in logs. */
  async open(path: string, init: RequestInit = {}): Promise<Response> {
    const { key, name } = this.#session
    const headers = new Headers(init.headers)
    headers.set('x-api-key', key)
    if (name !== '') headers.set('x-operator', name)
    const options: RequestInit = { ...init, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' }
    const response = await fetch(`/admin${path}`, options).catch((error: unknown) => {
      throw asProblem(error)
    })
    if (response.ok) return response
    throw await problemOf(response)
  }

  async #json<T>(response: Response): Promise<T> {
    return (await response.json().catch((error: unknown) => {
      throw asProblem(error)
    })) as T
  }
}
