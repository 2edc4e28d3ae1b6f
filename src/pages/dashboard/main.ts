import { byId } from '../dom.js'
import { forgetSession, storedSession, storeSession } from './api/session.js'
import { startDashboard } from './dashboard.js'
import { signIn } from './sign-in.js'

const SIGN_OUT_REASON = 'segmind-gateway.refused'

/** Starts with the session of this tab, or with the sign-in form. */
async function start(): Promise<void> {
  byId('sign-out').addEventListener('click', () => signOut())
  const reason = sessionStorage.getItem(SIGN_OUT_REASON) ?? undefined
  sessionStorage.removeItem(SIGN_OUT_REASON)
  const session = storedSession() ?? (await signIn(reason))
  storeSession(session)
  byId('account').hidden = false
  byId('operator').textContent = session.name
  startDashboard(session, signOut)
}

/** Forgets the key and reloads, so that no figures stay on the page. */
function signOut(reason?: string): void {
  forgetSession()
  if (reason !== undefined) sessionStorage.setItem(SIGN_OUT_REASON, reason)
  location.reload()
}

void start()
