import { byId, setText } from './element.js'
import { runOperations } from './operations.js'
import { forgetSession, storedSession, storeSession } from './session.js'
import { askForSession } from './sign-in.js'

const REFUSED = 'segmind-gateway.refused'

/** Begins with the key of this tab, or asks for one. Whoever leaves gets a page that knows nothing. */
async function begin(): Promise<void> {
  byId('log-out').addEventListener('click', () => leave())
  const why = sessionStorage.getItem(REFUSED) ?? undefined
  sessionStorage.removeItem(REFUSED)
  const session = storedSession() ?? (await askForSession(why))
  storeSession(session)
  byId('who').hidden = false
  setText('operator', session.name)
  runOperations(session, leave)
}

function leave(why?: string): void {
  forgetSession()
  if (why !== undefined) sessionStorage.setItem(REFUSED, why)
  location.reload()
}

void begin()
