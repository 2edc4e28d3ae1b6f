/** Why the gateway did not do what was asked, for people: what `application/problem+json` says, or that there was no answer. */
export class Problem {
  readonly message: string
  readonly status: number
  readonly code: string
  readonly requestId: string

  constructor({ message, status = 0, code = '', requestId = '' }: ProblemFields) {
    this.message = message
    this.status = status
    this.code = code
    this.requestId = requestId
  }
}

interface ProblemFields {
  message: string
  status?: number
  code?: string
  requestId?: string
}

/** Reads an answer that is no success; one that is no problem document is told by its status. */
export async function problemOf(response: Response): Promise<Problem> {
  const { status } = response
  const body: unknown = await response.json().catch(() => undefined)
  const { detail, title, code, requestId } = (body ?? {}) as Record<string, unknown>
  const message = text(detail) || text(title) || `The gateway answered with status ${status}.`
  return new Problem({ message, status, code: text(code), requestId: text(requestId) })
}

/** Anything that was thrown, as a problem. */
export function asProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown
  return new Problem({ message: 'The gateway cannot be reached. Nothing is known of what was asked; look again.' })
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
